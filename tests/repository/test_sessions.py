"""What the nox sessions hand to pytest."""

import importlib.util

import pytest

from tests.repository.workflows import ROOT

SESSIONS = ("container", "load", "floods", "docs", "package", "durability", "unit", "browser")


@pytest.fixture(scope="module")
def noxfile():
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Session:
    """Stands in for nox's: installs nothing, runs nothing, remembers."""

    def __init__(self, *posargs):
        self.posargs = list(posargs)
        self.tests = []
        self.runs = []

    def install(self, *_, **__):
        pass

    def run(self, *command, **_):
        if "pytest" in command:
            rest = command[command.index("pytest") + 1 :]
            self.tests = [one for one in rest if one.startswith("tests/")]
            self.runs.append(self.tests)
            self.rest = rest


def asked(noxfile, name, *posargs):
    session = Session(*posargs)
    getattr(noxfile, name).func(session)
    return session


@pytest.mark.parametrize("name", SESSIONS)
def test_a_named_test_is_run_instead_of_all(noxfile, name, monkeypatch):
    monkeypatch.chdir(ROOT)
    one = f"tests/{name}/test_x.py::test_y[z]"
    assert asked(noxfile, name, one, "-x").tests == [one]


@pytest.mark.parametrize("name", SESSIONS)
def test_options_narrow_the_whole(noxfile, name, monkeypatch):
    monkeypatch.chdir(ROOT)
    session = asked(noxfile, name, "--image", "prixfixe", "-k", "word")
    assert session.tests[0].startswith("tests/")
    assert "word" in session.rest


def test_the_cluster_is_the_tests_of_the_store_and_the_compose_project(noxfile, monkeypatch):
    """The options are of the first, so the second is left out with them."""
    monkeypatch.chdir(ROOT)
    files = ("test_failover", "test_outages", "test_postgresql_rules")
    first = [f"tests/durability/{each}.py" for each in files]
    second = ["tests/cluster"]
    one = "tests/cluster/test_cluster.py"
    for posargs, runs in (
        ((), [first, second]),
        (("--failovers", "5"), [first]),
        ((first[0],), [first[:1]]),
        ((one, "-x"), [[one]]),
    ):
        assert asked(noxfile, "cluster", *posargs).runs == runs
