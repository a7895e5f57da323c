"""What scripts/stress-test.sh puts up and says, as far as it needs no engine."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from prixfixe.load import SCENARIOS, Outcome, Plan, Run, as_json
from prixfixe.load.post import END, message
from tests.support.script_runner import ROOT, Shell, clean_environ
from tests.unit.test_compose import composed

FILE = ROOT / "docker-compose.stress-test.yml"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return composed(tmp_path_factory.mktemp("project"), file=FILE, COMPOSE_PROFILES="generator")


def test_five_servers_and_a_generator_are_on_a_network_that_leads_nowhere(project):
    servers = [f"smtp{number}" for number in range(1, 6)]
    assert set(project["services"]) == {*servers, "generator"}
    [network] = project["networks"].values()
    assert network["internal"] is True
    for service in project["services"].values():
        assert list(service["networks"]) == ["stress"]
        assert not {"ports", "network_mode", "extra_hosts"} & service.keys()
    mail = {project["services"][name]["volumes"][0]["source"] for name in servers}
    assert len(mail) == 5


def test_servers_have_the_rights_and_limits_of_the_deployed_one(project, tmp_path):
    deployed = composed(tmp_path)["services"]["smtp"]
    same = ("read_only", "cap_drop", "security_opt", "tmpfs", "pids_limit", "mem_limit")
    same += ("memswap_limit", "cpus", "logging", "image", "pull_policy", "stop_grace_period")
    for name, service in project["services"].items():
        for key in same[:-1] if name == "generator" else same:
            assert service[key] == deployed[key], (name, key)


def test_the_script_knows_every_scenario_and_no_other():
    text = (ROOT / "scripts" / "stress-test.sh").read_text()
    [named] = re.findall(r'^all="([a-z ]+)"', text, re.MULTILINE)
    assert named.split() == list(SCENARIOS)
    assert f"{' | '.join(SCENARIOS)}) scenarios=$1" in text


def test_without_a_python_the_script_says_which(tmp_path):
    shell = Shell(tmp_path)
    shell.docker("exit 0")
    done = shell.run("stress-test.sh", "quick")
    assert done.returncode == 1
    assert "needs Python 3.11 or later" in done.stderr


def test_results_are_judged_by_a_python_with_nothing_installed(tmp_path):
    outcome, size = Outcome(seconds=1.0), len(message(0, 1024)) - len(END)
    outcome.accept(size, 0.01, 0)
    run = Run.of(Plan("smtp1", messages=1), outcome)
    (tmp_path / "quick.json").write_text(as_json([run]))
    (tmp_path / "kept").write_text(json.dumps({"subject": "load 0", "size": size}))
    shutil.copytree(ROOT / "prixfixe", tmp_path / "prixfixe")
    words = ["load", "report", "quick.json", "--kept", "smtp1=kept"]
    done = subprocess.run(
        [sys.executable, "-S", "-m", "prixfixe", *words],
        cwd=tmp_path,
        env=clean_environ() | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "accepted                1" in done.stdout
