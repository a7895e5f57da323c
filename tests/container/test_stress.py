"""scripts/stress-test.sh on a real engine: five servers, and one that loses what it accepted."""

import json

import pytest
import yaml

from prixfixe.load.results import read
from tests.container import engine

pytestmark = pytest.mark.timeout(240)

SERVERS = [f"smtp{number}" for number in range(1, 6)]


def change(deployed, server, **settings):
    """Give one of the servers other settings than the rest."""
    file = deployed.folder / "docker-compose.stress-test.yml"
    project = yaml.safe_load(file.read_text())
    environment = project["services"][server]["environment"]
    project["services"][server]["environment"] = [
        *environment,
        *(f"{name}={value}" for name, value in settings.items()),
    ]
    file.write_text(yaml.safe_dump(project))


def assert_nothing_is_left(deployed):
    found = engine.client()
    assert found.containers.list(all=True, filters={"name": deployed.name}) == []
    assert found.networks.list(names=[deployed.name]) == []
    assert found.volumes.list(filters={"name": deployed.name}) == []


def test_a_volume_of_somebody_else_is_left_alone(deployed, tmp_path):
    name = f"{deployed.name}-stress_mail3"
    engine.client().volumes.create(name, labels=engine.labels())
    done = deployed.run("stress-test.sh", "quick", str(tmp_path / "results"))
    assert done.returncode == 1
    assert f"the volume {name} was not made by stress-test.sh" in done.stderr
    assert engine.client().volumes.get(name)


def test_every_message_of_a_quick_run_is_accepted_and_kept(deployed, tmp_path):
    results = tmp_path / "results"
    done = deployed.succeed("stress-test.sh", "quick", str(results))
    assert "Every message is kept" in done.stderr
    rows = [line.split()[:2] for line in done.stdout.splitlines()[1:7]]
    assert rows == [*([f"{server}:2525", "20"] for server in SERVERS), ["all", "100"]]
    runs = read((results / "quick.json").read_text())
    assert [one.outcome.codes for one in runs] == [{250: 20}] * 5
    kept = (results / "quick-smtp3.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["subject"] for line in kept) == sorted(
        f"load {n}" for n in range(20)
    )
    assert_nothing_is_left(deployed)


def test_a_server_that_refuses_and_one_that_drops_are_found(deployed, tmp_path):
    change(deployed, "smtp2", SMTP_RECIPIENTS="@example.org")
    change(deployed, "smtp4", SMTP_STORE_MAX_MESSAGES="5")
    done = deployed.run("stress-test.sh", "quick", str(tmp_path / "results"), seconds=120)
    assert done.returncode == 1
    assert "quick: not every message was accepted" in done.stderr
    assert "smtp4:2525: 15 messages accepted but not kept" in done.stderr
    assert "stress-test.sh: failed: quick" in done.stderr
    assert_nothing_is_left(deployed)
