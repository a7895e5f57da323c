"""The suite can fail: each broken image turns its named checks red and leaves the others green.

A mutant meets its own checks and those of its kind; with `--teeth all` the whole suite, which takes
hours. By default one mutant of each kind is played; `nox -s teeth` plays every one (`--teeth own`).
"""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.container import engine
from tests.container.builder import ROOT
from tests.container.hardening import check_asked
from tests.container.mutants.making import make
from tests.container.mutants.table import CORE, MUTANTS, SAMPLE, STILL

# One right too many or one limit too few: what compose's file says, and what it would say instead.
RELAXED = {
    "a writable root": ("read_only: true", "read_only: false"),
    "a capability": ("cap_drop: [ALL]", "cap_drop: [CHOWN]"),
    "another capability": ("cap_drop: [ALL]", "cap_drop: [ALL]\n    cap_add: [NET_RAW]"),
    "new privileges": ('security_opt: ["no-new-privileges:true"]', "security_opt: []"),
    "no seccomp": ('"no-new-privileges:true"', '"no-new-privileges:true", "seccomp=unconfined"'),
    "more processes": ("pids_limit: 64", "pids_limit: 65"),
    "swap": ("memswap_limit: ${PRIXFIXE_MEMORY:-256m}", "memswap_limit: 512m"),
    "another processor": ("cpus: ${PRIXFIXE_CPUS:-1}", "cpus: 2"),
    "programs in /tmp": (",noexec,nosuid,nodev", ""),
    "a log that grows": ('max-file: "3"', 'max-file: "30"'),
    "no restart": ("restart: unless-stopped", 'restart: "no"'),
    "every address": (
        "${PRIXFIXE_HTTP_PUBLISH:-127.0.0.1}:${SMTP_HTTP_PORT",
        "0.0.0.0:${SMTP_HTTP_PORT",
    ),
    "a volume too many": (":/var/mail\n", ":/var/mail\n      - /etc:/host:ro\n"),
    "secrets to write": (":/run/secrets:ro,z", ":/run/secrets:z"),
    "root": ("read_only: true", 'read_only: true\n    user: "0:0"'),
    "a short stop": ("stop_grace_period: ${PRIXFIXE_STOP_GRACE:-20s}", "stop_grace_period: 2s"),
}
HERE = Path(__file__).parent
SECONDS = 600
WITNESS = "no SIGTERM handler"  # whose failures have containers that have much to tell


@pytest.fixture
def broken(image, request):
    """The id of an image broken as the parameter says, gone afterwards."""
    made = make(image, MUTANTS.get(request.param))
    yield made
    engine.client().images.remove(made, force=True)


def verdicts(image, tests, folder):
    """Run tests against an image; return which failed, out of which.

    What they leave as evidence of failures is of none of this run's.
    """
    report = folder / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n0",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
    ]
    paths = [f"{HERE.relative_to(ROOT)}/{name}" for name in tests]
    done = subprocess.run(
        [*command, f"--image={image}", f"--junitxml={report}", *paths],
        cwd=ROOT,
        env={**os.environ, "PRIXFIXE_EVIDENCE": str(folder / "evidence")},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert report.exists(), done.stdout + done.stderr
    cases = {
        f"{case.get('classname').rpartition('.')[2]}.py::{case.get('name')}": case
        for case in ET.parse(report).iter("testcase")
    }
    red = {name for name, case in cases.items() if {one.tag for one in case} & {"failure", "error"}}
    return red, set(cases)


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("broken", ["nothing"], indirect=True)
def test_an_image_that_was_only_repacked_passes(broken, tmp_path):
    red, ran = verdicts(broken, [*STILL, *CORE], tmp_path)
    assert red == set()
    assert len(ran) > 30


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("broken", MUTANTS, indirect=True)
def test_a_broken_image_turns_its_checks_red_and_no_other(broken, request, tmp_path):
    mutant = MUTANTS[request.node.callspec.params["broken"]]
    others = STILL if mutant.is_still else CORE
    if request.config.getoption("--teeth") == "all":
        others = [path.name for path in HERE.glob("test_*.py") if path.name != Path(__file__).name]
    named = [name for name in mutant.red if not name.startswith(tuple(others))]
    red, ran = verdicts(broken, [*others, *named], tmp_path)
    assert set(mutant.red) <= ran
    assert red == set(mutant.red), mutant.why
    if mutant is MUTANTS[WITNESS]:
        a_failure_left_what_its_container_can_tell(tmp_path / "evidence", mutant.red)


def a_failure_left_what_its_container_can_tell(evidence, red):
    folders = {path.name.rpartition(".py_")[2]: path for path in evidence.iterdir()}
    assert folders.keys() == {name.partition("::")[2] for name in red}
    for folder in folders.values():
        kinds = {path.name.rpartition("-")[2] for path in folder.iterdir()}
        assert kinds == {"report.txt", "log.txt", "inspect.json", "health.json", "top.json"}
        assert '"event":"ready"' in (folder / "0-log.txt").read_text()
        asked = json.loads((folder / "0-inspect.json").read_text())["HostConfig"]
        assert asked["ReadonlyRootfs"]


@pytest.mark.parametrize("relaxed", RELAXED)
def test_a_deployed_server_that_may_more_is_found(deployed, relaxed):
    """The check of what compose and run.sh start can fail, for each thing it looks at."""
    deployed.environ |= {"SMTP_PORT": "2525", "SMTP_HTTP_PORT": "8025"}  # nothing is started
    path = deployed.folder / "docker-compose.yml"
    before, after = RELAXED[relaxed]
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))
    deployed.succeed("compose.sh", "create")
    with pytest.raises(AssertionError):
        check_asked(deployed)


def test_there_are_at_least_twenty_and_the_sample_is_of_them():
    assert len(MUTANTS) >= 20
    assert set(SAMPLE) < set(MUTANTS)
