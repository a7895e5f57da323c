"""What the nox sessions hand to pytest."""

import importlib.util
import json
from pathlib import Path

import pytest
from nox.command import CommandFailed

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

    name = "any"

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


class Failing(Session):
    """Runs tests: the first time `failed` of them fail, the second time `again`."""

    def __init__(self, failed, again):
        super().__init__()
        self.left = [failed, again]
        self.told = []

    def warn(self, text):
        self.told.append(text)

    def run(self, *command, **_):
        self.runs.append(command)
        failed = self.left.pop(0)
        where = command[command.index("-o") + 1].removeprefix("cache_dir=")
        path = Path(where) / "v" / "cache" / "lastfailed"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({f"tests/x.py::test_{at}": True for at in range(failed)}))
        if failed:
            raise CommandFailed("1")


def test_what_fails_in_ci_runs_once_more_and_is_told(noxfile, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")
    session = Failing(2, 0)
    noxfile._pytest(session, "tests/unit", "-n", "auto")
    _first, second = session.runs
    assert "--last-failed" in second
    counts = [second[at + 1] for at, word in enumerate(second) if word == "-n"]
    assert counts == ["auto", "0"]  # the last one counts
    assert [one for one in session.told if one.startswith("FLAKY tests/x.py::test_1:")]


@pytest.mark.parametrize(
    ("failed", "again", "is_ci", "runs"), [(1, 1, "true", 2), (6, 0, "true", 1), (1, 0, "", 1)]
)
def test_what_fails_twice_or_much_or_at_home_fails(
    noxfile, monkeypatch, tmp_path, failed, again, is_ci, runs
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", is_ci)
    session = Failing(failed, again)
    with pytest.raises(CommandFailed):
        noxfile._pytest(session, "tests/unit")
    assert len(session.runs) == runs
