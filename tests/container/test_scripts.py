"""The five scripts on a real engine: build, run and replace, stop, show the log, send a message."""

import json
import re
import subprocess

import pytest

from prixfixe import __version__
from tests.container import engine
from tests.container.builder import revision
from tests.container.deployed import taken_port
from tests.container.hardening import check
from tests.container.talk import body_of, deliver, envelope, stuffed
from tests.container.waiting import eventually, is_greeted
from tests.support.script_runner import ROOT

pytestmark = pytest.mark.timeout(240)  # some build the image, with a cache that may be cold


@pytest.fixture
def deploy(deployed):
    """A folder with the scripts, whose server gets any free ports."""
    deployed.environ |= {"SMTP_PORT": "0", "SMTP_HTTP_PORT": "0"}
    return deployed


def told(done, what):
    """Return the address that run.sh told for SMTP or HTTP."""
    found = re.search(rf"{what} +(?:http://)?127\.0\.0\.1:(\d+)", done.stderr)
    assert found, done.stderr
    return ("127.0.0.1", int(found[1]))


# --- run.sh and test-smtp.sh


def test_run_starts_a_hardened_server_and_says_how_to_reach_it(deploy):
    done = deploy.succeed("run.sh")
    assert done.stdout == ""
    eventually(lambda: deploy.state["Health"]["Status"] == "healthy", what="a healthy state")
    assert told(done, "SMTP") == deploy.address()
    assert told(done, "HTTP") == deploy.address(8025)
    sent = deploy.succeed("test-smtp.sh", *map(str, told(done, "SMTP")))
    [kept] = deploy.messages()
    assert sent.stdout == f"{kept.id}\n"
    check(deploy)
    assert deploy.container.attrs["HostConfig"]["NetworkMode"] == deploy.name


def test_run_builds_the_image_when_it_is_missing(deploy):
    deploy.environ["PRIXFIXE_IMAGE"] = f"{deploy.name}:built"
    done = deploy.succeed("run.sh")
    assert f"{deploy.name}:built {__version__} is built" in done.stderr
    assert deploy.is_greeted()


def test_run_takes_settings_from_the_env_file_and_secrets_from_a_folder(deploy):
    secret = deploy.folder / "secrets" / "token"
    secret.write_text("opensesame\n")
    secret.chmod(0o644)
    deploy.dotenv("SMTP_DOMAIN='mx.example.com' # ours\nSMTP_HTTP_TOKEN_FILE=/run/secrets/token\n")
    deploy.succeed("run.sh")
    with deploy.hello() as wire:
        assert wire.ask(b"NOOP\r\n") == [250]
    assert "mx.example.com" in deploy.container.logs().decode() or deploy.ask(
        "import os; print(os.environ)"
    )
    assert deploy.http("/api/v1/messages").status == 401
    assert deploy.http("/api/v1/messages", Authorization="Bearer opensesame").status == 200
    assert "opensesame" not in json.dumps(deploy.container.attrs)


def test_run_publishes_the_ports_of_the_settings_and_tls_with_them(deploy):
    with taken_port() as smtp, taken_port() as smtps:
        deploy.environ |= {
            "SMTP_PORT": str(smtp),
            "SMTP_TLS_PORT": str(smtps),
            "SMTP_TLS_CERT": "self-signed",
            "SMTP_HTTP_PORT": "off",
        }
        done = deploy.succeed("run.sh")
        assert told(done, "SMTP") == ("127.0.0.1", smtp)
        assert "HTTP" not in done.stderr
        bindings = deploy.container.attrs["HostConfig"]["PortBindings"]
        assert set(bindings) == {f"{smtp}/tcp", f"{smtps}/tcp"}
        assert deploy.is_greeted(smtp)
        assert deploy.is_greeted_in_tls(smtps)


def test_run_keeps_mail_in_a_folder_where_one_is_named(deploy):
    folder = deploy.folder / "mail"
    folder.mkdir()
    folder.chmod(0o777)
    deploy.environ["PRIXFIXE_VOLUME"] = "./mail"
    deploy.succeed("run.sh")
    with deploy.hello() as wire:
        deliver(wire, body_of(100))
    kept = folder / "prixfixe.db"
    assert (kept.stat().st_uid, kept.stat().st_gid) == (1000, 1000)


def test_run_replaces_a_server_without_losing_what_it_receives(deploy):
    deploy.environ["SMTP_SHUTDOWN_TIMEOUT"] = "60"
    deploy.succeed("run.sh")
    old = deploy.container.id
    body = body_of(5000)
    with deploy.hello() as wire:
        first = deliver(wire, body_of(100))
        envelope(wire)
        wire.send(stuffed(body)[:-100])
        replacing = deploy.begin("run.sh")
        address = deploy.address()
        eventually(lambda: not is_greeted(address), what="the old server's drain")
        wire.send(stuffed(body)[-100:])
        second = wire.reply().split()[-1].decode()
    output, _ = replacing.communicate(timeout=120)
    assert replacing.returncode == 0, output
    assert deploy.container.id != old
    assert [one.id for one in deploy.messages()] == [first, second]
    assert deploy.messages()[1].body == body
    assert len(engine.client().containers.list(all=True, filters={"name": deploy.name})) == 1


def test_run_leaves_the_server_alone_when_the_settings_are_wrong(deploy):
    deploy.succeed("run.sh")
    old, since = deploy.container.id, deploy.state["StartedAt"]
    done = deploy.run("run.sh", SMTP_TIMEOUT="soon", SMTP_TLS="maybe")
    assert done.returncode == 1
    assert "SMTP_TIMEOUT='soon': expected" in done.stderr
    assert "SMTP_TLS='maybe': expected" in done.stderr
    assert (deploy.container.id, deploy.state["StartedAt"]) == (old, since)


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"PRIXFIXE_MEMORY": "lots"}, "PRIXFIXE_MEMORY=lots"),
        ({"PRIXFIXE_MEMORY": "6m"}, "PRIXFIXE_MEMORY=6m"),
        ({"PRIXFIXE_PUBLISH": "192.0.2.1"}, "PRIXFIXE_PUBLISH=192.0.2.1"),
        ({"PRIXFIXE_SECRETS": "/nonexistent"}, "PRIXFIXE_SECRETS=/nonexistent: no such folder"),
    ],
)
def test_run_leaves_the_server_alone_when_docker_could_not_run_another(deploy, environ, told):
    deploy.succeed("run.sh")
    old, since = deploy.container.id, deploy.state["StartedAt"]
    done = deploy.run("run.sh", **environ)
    assert done.returncode == 1
    assert told in done.stderr
    assert (deploy.container.id, deploy.state["StartedAt"]) == (old, since)


def test_run_says_how_a_server_ended_that_logged_nothing(deploy):
    done = deploy.run("run.sh", PRIXFIXE_MEMORY="6m", seconds=120)
    assert done.returncode == 1
    assert "it logged nothing; " in done.stderr
    assert "exit code 137" in done.stderr or "out of memory" in done.stderr
    assert "; PRIXFIXE_MEMORY=6m" in done.stderr
    assert not deploy.is_started


def test_run_tells_why_a_replacement_does_not_start_and_the_mail_stays(deploy):
    deploy.succeed("run.sh")
    with deploy.hello() as wire:
        kept = deliver(wire, body_of(100))
    done = deploy.run("run.sh", SMTP_STORE="sqlite:/nowhere/mail.db", seconds=60)
    assert done.returncode == 1
    assert "/nowhere" in done.stderr
    assert "run.sh: the server did not become ready; the end of its log is above" in done.stderr
    assert "exit code 3" in done.stderr
    assert not deploy.is_started
    deploy.succeed("run.sh")
    assert [one.id for one in deploy.messages()] == [kept]


def test_run_names_a_taken_port_and_leaves_nothing(deploy):
    with taken_port(is_listening=True) as port:
        done = deploy.run("run.sh", SMTP_PORT=str(port), seconds=60)
    assert done.returncode == 1
    assert f"run.sh: port {port} is taken: set SMTP_PORT" in done.stderr
    assert not deploy.is_started


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SMTP_MAX_ERRORS": "few"}, "SMTP_MAX_ERRORS='few': expected"),
        ({"SMTP_STORE": "maildir:/nowhere"}, "/nowhere"),
    ],
)
def test_run_shows_why_a_first_server_does_not_start_and_leaves_none(deploy, environ, expected):
    done = deploy.run("run.sh", **environ, seconds=60)
    assert done.returncode == 1
    assert expected in done.stderr
    assert not deploy.is_started


def test_run_leaves_a_container_of_somebody_else_alone(deploy, image):
    other = engine.client().containers.create(image, name=deploy.name, labels=engine.labels())
    done = deploy.run("run.sh")
    assert done.returncode == 1
    assert f"the container {deploy.name} was not made by run.sh" in done.stderr
    assert deploy.container.id == other.id


# --- stop.sh and logs.sh


def test_mail_outlives_stop_run_and_remove(deploy):
    deploy.succeed("run.sh")
    with deploy.hello() as wire:
        kept = deliver(wire, body_of(100))
    assert f"{deploy.name} is stopped" in deploy.succeed("stop.sh").stderr
    assert (deploy.state["Status"], deploy.state["ExitCode"]) == ("exited", 0)
    deploy.succeed("run.sh")
    assert [one.id for one in deploy.messages()] == [kept]
    done = deploy.succeed("stop.sh", "--remove")
    assert f"its mail stays in {deploy.name}-mail" in done.stderr
    assert not deploy.is_started
    assert not engine.client().networks.list(names=[deploy.name])
    assert engine.client().volumes.get(f"{deploy.name}-mail")
    done = deploy.run("stop.sh")
    assert (done.returncode, f"there is no server {deploy.name}" in done.stderr) == (1, True)


def test_two_servers_do_not_know_each_other_s_hints(deploy):
    """Each hint stops the server that it was printed for, and a typo stops none."""
    first = deploy.succeed("run.sh")
    assert f"stop it: PRIXFIXE_NAME={deploy.name} scripts/stop.sh" in first.stderr
    typo = deploy.run("stop.sh", PRIXFIXE_NAME=f"{deploy.name}x")
    assert typo.returncode == 1
    assert deploy.name in typo.stderr.partition("there is: ")[2]
    assert deploy.is_greeted()


def test_the_scripts_see_what_compose_runs(deploy):
    with taken_port() as smtp, taken_port() as http:
        deploy.environ |= {"SMTP_PORT": str(smtp), "SMTP_HTTP_PORT": str(http)}
    deploy.succeed("compose.sh", "up", "--wait", "--detach")
    assert '"event":"ready"' in deploy.succeed("logs.sh", "--no-follow").stdout
    done = deploy.run("run.sh")
    assert done.returncode == 1
    assert f"compose runs the server {deploy.name} as {deploy.name}-smtp-1" in done.stderr
    deploy.succeed("stop.sh")
    assert (deploy.state["Status"], deploy.state["ExitCode"]) == ("exited", 0)
    assert "there is nothing to stop" in deploy.run("stop.sh").stderr
    deploy.succeed("stop.sh", "--remove")
    assert not deploy.is_started
    assert not engine.client().networks.list(names=[f"{deploy.name}_mail"])


def test_compose_takes_run_sh_s_volume_for_its_own(deploy):
    with taken_port() as smtp, taken_port() as http:
        deploy.environ |= {"SMTP_PORT": str(smtp), "SMTP_HTTP_PORT": str(http)}
    deploy.succeed("run.sh")
    refused = deploy.run("compose.sh", "up", "--wait", "--detach")
    assert refused.returncode == 2
    assert f"run.sh runs the server {deploy.name}" in refused.stderr
    deploy.succeed("stop.sh", "--remove")
    done = deploy.succeed("compose.sh", "up", "--wait", "--detach")
    assert "not created by" not in done.stderr
    assert "warn" not in done.stderr.lower()


def test_stop_says_when_the_server_had_to_be_killed(deploy):
    deploy.environ["SMTP_SHUTDOWN_TIMEOUT"] = "0"
    deploy.succeed("run.sh")
    deploy.container.kill(signal="SIGSTOP")
    done = deploy.run("stop.sh", seconds=60)
    assert done.returncode == 0
    assert "was killed" in done.stderr


def test_logs_show_the_last_lines_and_follow(deploy):
    deploy.succeed("run.sh")
    [line] = deploy.succeed("logs.sh", "--no-follow", "--tail", "1").stdout.splitlines()
    assert json.loads(line)["event"] == "ready"
    assert len(deploy.succeed("logs.sh", "--no-follow").stdout.splitlines()) > 1
    following = deploy.begin("logs.sh")
    try:
        assert "ready" in following.stdout.readline()
        with deploy.hello() as wire:
            kept = deliver(wire, body_of(100))
        assert any(kept in line for line in following.stdout)
    finally:
        following.terminate()
        following.wait(20)
        following.stdout.close()


def test_logs_without_a_server_say_so(deploy):
    done = deploy.run("logs.sh")
    assert done.returncode == 1
    assert f"logs.sh: there is no server {deploy.name}" in done.stderr


# --- build.sh


def test_build_tags_and_labels(deploy):
    """In the checkout itself, for its commit."""
    environ = deploy.environ | {"PRIXFIXE_IMAGE": deploy.name}
    done = subprocess.run(
        [ROOT / "scripts" / "build.sh"], env=environ, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    image = engine.client().images.get(f"{deploy.name}:{__version__}")
    assert engine.client().images.get(f"{deploy.name}:latest").id == image.id
    labels = {
        name.rpartition(".")[2]: value
        for name, value in image.labels.items()
        if ".opencontainers." in name
    }
    assert (labels["version"], labels["revision"]) == (__version__, revision())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", labels["created"])
    assert image.id in done.stderr


def test_a_failing_build_is_told(deploy):
    (deploy.folder / "Dockerfile").write_text("FROM scratch\nCOPY nothing /\n")
    done = deploy.run("build.sh", PRIXFIXE_IMAGE=f"{deploy.name}:broken")
    assert done.returncode == 1
    assert "build.sh: the image was not built; the reason is above" in done.stderr
