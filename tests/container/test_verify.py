"""`prixfixe verify` on the image under test, and what it leaves in the engine: nothing."""

import json
import os
import signal
import subprocess
import sys

import pytest
from docker.errors import APIError
from docker.models.containers import Container

from prixfixe.cli.main import main
from prixfixe.verify.targets.docker import LABEL, DockerSource
from tests.container import engine

# Some of each kind; `nox -s verify` plays all.
QUICK = "IMG or RUN-04 or DUR-07 or LIM-01 or SMTP-G02"


def made_with(token):
    """The name of the verifier's run whose containers have this in their environment, if any."""
    found = engine.client().containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
    runs = {one.labels[LABEL] for one in found if token in one.attrs["Config"]["Env"]}
    return runs.pop() if runs else None


def sweep(run):
    """Remove what a run of the verifier has in the engine."""
    for one in left(run):
        one.remove(**({"force": True} if hasattr(one, "status") else {}))


def left(run):
    """What a run of the verifier has in the engine now."""
    mine = {"label": f"{LABEL}={run}"}
    client = engine.client()
    return [
        *client.containers.list(all=True, filters=mine, ignore_removed=True),
        *client.networks.list(filters=mine),
        *client.volumes.list(filters=mine),
    ]


@pytest.fixture
def contract(tmp_path):
    """A contract with a mark of its own, by which its containers are known."""
    token = f"SMTP_DOMAIN={tmp_path.name.replace('_', '-')}.test"
    path = tmp_path / "contract.toml"
    name, _, value = token.partition("=")
    path.write_text(
        f'version = 1\nprofile = "prixfixe"\n[target]\nenv = {{ {name} = "{value}" }}\n'
    )
    return path, token


def test_the_image_keeps_what_its_profile_promises(image, tmp_path, contract):
    report = tmp_path / "report.json"
    words = [f"--contract={contract[0]}", "-k", QUICK, f"--report=json={report}"]
    code = main(["verify", f"docker://{image}", *words])
    told = json.loads(report.read_text())
    results = {one["id"]: one for one in told["results"]}
    bad = {name: one["why"] for name, one in results.items() if one["outcome"] != "pass"}
    assert bad == {}
    assert code == 0
    assert len(results) == 33
    assert told["target"]["image"] == image
    assert told["readback"] == "mailpit"
    assert left(told["target"]["run"]) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_in_the_engine(image, number, contract):
    path, token = contract
    words = ["verify", f"docker://{image}", f"--contract={path}", "-k", "DUR"]
    with subprocess.Popen(
        [sys.executable, "-m", "prixfixe", *words], env=os.environ, stdout=subprocess.PIPE
    ) as process:
        while (run := made_with(token)) is None:
            assert process.poll() is None
        process.send_signal(number)
        process.communicate(timeout=120)
    assert process.returncode == 130
    assert left(run) == []


def test_what_a_killed_run_left_is_removed_by_the_next(image, contract):
    path, token = contract
    words = ["verify", f"docker://{image}", f"--contract={path}", "-k", "DUR"]
    with subprocess.Popen(
        [sys.executable, "-m", "prixfixe", *words], env=os.environ, stdout=subprocess.DEVNULL
    ) as process:
        while (run := made_with(token)) is None:
            assert process.poll() is None
        process.kill()
    assert left(run) != []
    assert main(["verify", f"docker://{image}", "--profile=prixfixe", "-k", "IMG-01"]) == 0
    assert left(run) == []


def test_what_is_kept_for_a_look_stays_until_its_owner_removes_it(image, tmp_path):
    report = tmp_path / "report.json"
    words = ["--profile=prixfixe", "-k", "SMTP-G02", "--keep", f"--report=json={report}"]
    done = subprocess.run(
        [sys.executable, "-m", "prixfixe", "verify", f"docker://{image}", *words],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = json.loads(report.read_text())["target"]["run"]
    try:
        assert main(["verify", f"docker://{image}", "--profile=prixfixe", "-k", "IMG-01"]) == 0
        assert {type(one).__name__ for one in left(run)} == {"Container", "Network", "Volume"}
    finally:
        sweep(run)


def test_what_another_removes_meanwhile_leaves_nothing_either(image, monkeypatch):
    """The engine refuses to remove a container twice at once, and its volume while it is there."""
    source = DockerSource(image)
    source.client.containers.create(
        image, labels=source.labels, volumes={source.new_volume(): {"bind": "/data"}}
    )
    remove, refused = Container.remove, []

    def refuse_once(self, **options):
        if not refused:
            refused.append(self.id)
            raise APIError("removal is already in progress")
        remove(self, **options)

    monkeypatch.setattr(Container, "remove", refuse_once)
    source.halt()
    assert refused
    assert left(source.run) == []
    source.close()


def test_an_image_that_is_not_there_is_the_environments_fault(capsys):
    assert main(["verify", "docker://prixfixe-no-such-image:0"]) == 3
    assert "no such image" in capsys.readouterr().err


def test_a_service_of_a_compose_file_is_its_image(image, tmp_path, capsys):
    file = tmp_path / "compose.yml"
    file.write_text(
        f"services:\n  mail:\n    image: {image}\n"
        "    environment:\n      SMTP_DOMAIN: compose.test\n    read_only: true\n"
    )
    report = tmp_path / "report.json"
    words = ["--profile=prixfixe", "-k", "SMTP-G02", f"--report=json={report}"]
    assert main(["verify", f"compose://{file}#mail", *words]) == 0
    assert main(["verify", f"compose://{file}#other"]) == 3
    assert "it has mail" in capsys.readouterr().err
