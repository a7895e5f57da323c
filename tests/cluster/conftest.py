"""One cluster for all tests of this folder, whole again before each of them."""

import os
from pathlib import Path

import pytest

from tests.cluster.project import HTTP, Project
from tests.container.waiting import eventually

pytest_plugins = ["tests.container.plugin"]

EVIDENCE = Path(os.environ.get("PRIXFIXE_EVIDENCE") or "evidence") / "cluster"


@pytest.fixture(scope="session")
def project(image, tmp_path_factory):
    """The compose project, put up once; nothing of it is left."""
    made = Project(tmp_path_factory.mktemp("cluster"), image)
    try:
        made.compose("up", "--detach", "--wait")
        yield made
        keep_logs(made)
    finally:
        made.discard()


def keep_logs(project):
    """Write what each container logged: small, and nobody knows before whether it is needed."""
    EVIDENCE.mkdir(parents=True, exist_ok=True)
    for service, log in project.logs().items():
        (EVIDENCE / f"{service}.log").write_text(log)


@pytest.fixture
def cluster(project):
    """The project, whole and without mail."""
    project.wait_until_whole()
    eventually(lambda: project.http("/api/v1/messages", HTTP, "DELETE").status == 200, 120.0)
    eventually(lambda: project.http("/api/v1/messages").json.get("total") == 0, 120.0)
    return project


@pytest.fixture
def report(record_property):
    """Tell at the end of the run what a fault did."""
    return lambda post: record_property("told", post.told())


def pytest_terminal_summary(terminalreporter):
    """Print what docs/cluster.md quotes."""
    rows = [
        (item.nodeid.partition("::")[2], value)
        for item in terminalreporter.getreports("passed")
        for name, value in item.user_properties
        if name == "told" and item.when == "call"
    ]
    if rows:
        terminalreporter.section("faults survived")
    for test, told in rows:
        terminalreporter.write_line(f"{test}: {told}")
