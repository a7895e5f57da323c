"""Fixtures of the suites that test the image: the image and containers of it.

The image is the one of `--image` or PRIXFIXE_IMAGE_ID; without them it is built once, by the
process that the user started, and its workers are told its id. `start_box` gives hardened containers
that are gone after the test; a failed test leaves evidence. Without an engine the tests are
skipped, under CI they fail.
"""

from __future__ import annotations

import json
import os

import pytest
from docker.errors import DockerException, ImageNotFound

from tests.container import engine, evidence
from tests.container.box import READY, Box
from tests.container.deployed import Deployment
from tests.container.once import once
from tests.support import log_records as records

_image = pytest.StashKey[str]()
_absent = pytest.StashKey[str]()
_reports = pytest.StashKey[list]()


def pytest_addoption(parser):
    parser.addoption("--image", metavar="ID", help="test this image instead of building one")


# --- once a run, in the process that the user started


def is_worker(config):
    return hasattr(config, "workerinput")


def pytest_configure(config):
    if is_worker(config):
        engine.name_run(config.workerinput["prixfixe_run"])
        config.stash[_image] = config.workerinput["prixfixe_image"]
        config.stash[_absent] = config.workerinput["prixfixe_absent"]
        return
    engine.name_run()
    config.stash[_image], config.stash[_absent] = "", ""


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    config = session.config
    if is_worker(config) or config.option.collectonly:
        return
    try:
        engine.client()
    except DockerException as error:
        config.stash[_absent] = f"no Docker engine answers: {error}"
        return
    engine.sweep_dead()
    engine.network()
    config.stash[_image] = image_to_test(config)


def image_to_test(config):
    """Return the id of the image to test; build it when none is named."""
    wanted = config.getoption("--image") or os.environ.get("PRIXFIXE_IMAGE_ID")
    if wanted:
        try:
            return engine.client().images.get(wanted).id
        except ImageNotFound:
            raise pytest.UsageError(f"--image {wanted}: the engine has no such image") from None
    from tests.container.builder import build

    return build(tag=engine.image_name())  # a name that goes with the run, and the image with it


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    node.workerinput["prixfixe_run"] = engine.labels()[engine.LABEL]
    node.workerinput["prixfixe_image"] = node.config.stash[_image]
    node.workerinput["prixfixe_absent"] = node.config.stash[_absent]


def pytest_report_header(config):
    return [] if is_worker(config) else engine.facts(config.stash[_image])


def pytest_unconfigure(config):
    if not is_worker(config) and config.stash.get(_image, ""):
        engine.sweep(engine.labels()[engine.LABEL], config.stash[_image])
        engine.client().close()


# --- once a test


@pytest.fixture(scope="session")
def image(request):
    """The id of the image under test."""
    absent = request.config.stash[_absent]
    if absent and os.environ.get("CI"):
        pytest.fail(absent)
    if absent:
        pytest.skip(absent)
    return request.config.stash[_image]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        item.stash.setdefault(_reports, []).append(report.longreprtext)
    return report


@pytest.fixture
def new_volume(image):
    """Make named volumes with nothing in them yet."""
    made = []

    def make():
        name = engine.new_name()
        made.append(engine.client().volumes.create(name, labels=engine.labels()))
        return name

    yield make
    for one in made:
        one.remove(force=True)


@pytest.fixture
def volume(new_volume):
    """The name of a new volume."""
    return new_volume()


@pytest.fixture
def start_box(image, request, new_volume):  # volumes go after the containers that use them
    """Start hardened containers: `start_box({"SMTP_X": "..."}, option=...)`; see `Box`.

    When the test is over, each must have ended well or still run, have logged no error, and
    only records of the table of events; a test that provokes errors sets `is_trouble_expected`.
    """
    boxes = []

    def start_one(environ=None, *, is_awaited=True, **options):
        is_other = "image" in options
        box = Box(options.pop("image", image), environ, **options)
        box.is_of_other_image = is_other
        boxes.append(box)
        return box.start(is_awaited=is_awaited)

    yield start_one
    faults = [fault for box in boxes if box.is_started for fault in faults_of(box)]
    reports = [*request.node.stash.get(_reports, []), *faults]
    if reports:
        evidence.keep(request.node.nodeid, boxes, "\n".join(reports))
    for box in boxes:  # all of them first: a volume may be shared
        box.remove()
    for box in boxes:
        box.discard()
    assert not faults


def faults_of(box):
    """Return what a container did that no test asked for."""
    if box.is_trouble_expected:
        return []
    state = box.state
    faults = [] if state["Running"] or state["ExitCode"] in (0, 137) else [f"ended: {state}"]
    if state["OOMKilled"]:
        faults.append("killed for its memory")
    for line in box.logs().splitlines():
        is_bad = '"level":"error"' in line or '"level":"critical"' in line
        if is_bad or not (line.startswith((READY, "{"))):
            faults.append(f"logged: {line}")
        elif not (line.startswith(READY) or box.is_of_other_image):
            faults += records.faults(json.loads(line))
    return faults


@pytest.fixture
def deployed(image, request, tmp_path):
    """A folder from which scripts and compose deploy, and nothing left of it; see `Deployment`."""
    made = Deployment(tmp_path, image)
    yield made
    if reports := request.node.stash.get(_reports, []):
        evidence.keep(request.node.nodeid, [made], "\n".join(reports))
    made.discard()


@pytest.fixture
def run_once(image):
    """Run the image to its end: `run_once("version", environ={...})`; see `once`."""
    return lambda *words, **options: once(image, *words, **options)
