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
from tests.container.mutants.making import make
from tests.container.mutants.table import CORE, MUTANTS, SAMPLE, STILL

HERE = Path(__file__).parent
SECONDS = 600


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


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("broken", ["no SIGTERM handler"], indirect=True)
def test_a_failure_leaves_what_its_container_can_tell(broken, tmp_path):
    [name, *_] = MUTANTS["no SIGTERM handler"].red
    red, _ = verdicts(broken, [name], tmp_path)
    assert red == {name}
    [folder] = (tmp_path / "evidence").iterdir()
    assert folder.name.endswith(name.partition("::")[2])
    assert '"event":"ready"' in (folder / "0-log.txt").read_text()
    assert json.loads((folder / "0-inspect.json").read_text())["HostConfig"]["ReadonlyRootfs"]
    assert {path.name for path in folder.iterdir()} >= {"report.txt", "0-health.json", "0-top.json"}


def test_there_are_at_least_twenty_and_the_sample_is_of_them():
    assert len(MUTANTS) >= 20
    assert set(SAMPLE) < set(MUTANTS)
