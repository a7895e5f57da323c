"""Options and fixtures of the load suite: containers under compose's limits, and what they did."""

import os
import resource

import pytest
from docker.types import Ulimit

from tests.container import engine
from tests.load import figures
from tests.load.composed import limits
from tests.support import run_summary as summaries

pytest_plugins = ["tests.container.plugin"]

# Compose leaves it to the engine, whose default is anything from 1,024 to a million.
NOFILE = 8192

_rows = pytest.StashKey[list]()


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="every test, in its full length")
    parser.addoption("--soak", type=float, default=0, metavar="MINUTES", help="send for so long")


def pytest_configure(config):
    config.addinivalue_line("markers", "full: takes its time, left out unless --all is given")
    config.stash[_rows] = []


def pytest_collection_modifyitems(config, items):
    """Leave out what was not asked for, and give the soak its time."""
    minutes = config.getoption("--soak")
    soaks = [item for item in items if "soak" in item.fixturenames]
    for item in soaks:
        item.add_marker(pytest.mark.timeout(minutes * 60 + 600))
    left = [] if minutes else soaks
    if not config.getoption("--all"):
        left += [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def pytest_terminal_summary(terminalreporter, config):
    """Show and write what was measured."""
    if rows := config.stash[_rows]:
        terminalreporter.section("measured, never judged")
        terminalreporter.write("\n".join(figures.table(rows)) + "\n")
        figures.write(rows, facts := engine.facts(rows[0]["image"]))
        summaries.add("Load", "\n\n".join([figures.markdown(rows), *facts]))


@pytest.fixture
def start(start_box):
    """Start a container as compose limits it: `start({"SMTP_X": "..."}, option=...)`."""

    def start_one(environ=None, **options):
        nofile = [Ulimit(name="nofile", soft=NOFILE, hard=NOFILE)]
        return start_box(environ, **{**limits(), "ulimits": nofile, **options})

    return start_one


@pytest.fixture
def is_all(request):
    """Whether scenarios take their full length."""
    return request.config.getoption("--all")


@pytest.fixture
def soak(request):
    """How many minutes a soak takes."""
    return request.config.getoption("--soak")


@pytest.fixture
def descriptors():
    """Have so many descriptors in this process: `descriptors(1100)`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def have(count):
        if count > hard:
            reason = f"{count} descriptors are needed, and the hard limit is {hard}"
            pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))

    yield have
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def record(request, image):
    """Keep a row for the table at the end."""
    return lambda row: request.config.stash[_rows].append({**row, "image": image})
