"""The layers: an import points down, or sideways where the table says so."""

import ast
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "prixfixe"
# Rooms by layer, lowest first; a room is a module or a package of the top level.
LAYERS = [
    {"threads"},
    {
        *("replies", "address", "message", "selfsigned", "passwords", "scram", "reloading"),
        *("events", "loglines", "linesink", "outlet", "restraint"),
        "proxy",
        "worker",
    },
    {"params", "policy", "units", "limits", "budget", "query", "mail", "arrivals", "users", "tls"},
    {"auth"},
    {"settings", "stores"},
    {"metrics", "readiness", "logs", "listeners", "index"},
    {"session", "http", "renewal"},
    {"server"},
    {"process"},
    {"cli", "load", "testing"},
    {"start"},
]
SIDEWAYS = {
    ("passwords", "scram"),
    ("cli", "load"),
    ("params", "policy"),
    ("query", "mail"),
    ("readiness", "metrics"),
}


def level(room):
    return next((n for n, rooms in enumerate(LAYERS) if room in rooms), None)


def imports(path):
    """Yield what a file imports at run time, each as the parts of its name."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module + "." + alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            yield parts


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(ROOT)) for p in FILES])
def test_imports_point_down(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if room in {"__init__", "__main__"}:
        return
    assert level(room) is not None, f"{room} has no layer"
    for parts in imports(path):
        if parts[0] != "prixfixe" or len(parts) < 2 or parts[1] in {"__version__", room}:
            continue
        other = parts[1]
        assert level(other) is not None, f"{other} has no layer"
        assert level(other) < level(room) or (room, other) in SIDEWAYS, f"{room} imports {other}"


def test_only_the_session_imports_aiosmtpd():
    importers = {
        str(path.relative_to(ROOT))
        for path in FILES
        for parts in imports(path)
        if parts[0] == "aiosmtpd"
    }
    assert importers == {"session/link.py"}


PURE = ["address", "params", "policy", "replies", "message", "scram", "units"]
PURE += [
    f"session/{name}"
    for name in ("body", "conversation", "dialogue", "envelope", "reception", "sasl", "verbs")
]


@pytest.mark.parametrize("name", PURE)
def test_pure_rooms_import_no_loop_and_no_socket(name):
    found = {parts[0] for parts in imports(ROOT / f"{name}.py")}
    assert not found & {"asyncio", "socket", "pathlib", "threading"}


def test_only_replies_makes_replies():
    for path in (ROOT / "session").glob("*.py"):
        calls = {
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        }
        assert "Reply" not in calls, path


def test_nothing_is_imported_that_the_image_drops():
    """Its build says so too, minutes later."""
    dropped = (ROOT.parent / "docker" / "prune.txt").read_text().split()
    wanted = {name[0] for path in ROOT.rglob("*.py") for name in imports(path)}
    assert {"os", "sqlite3"} <= wanted
    places = {f"usr/lib/python3.13/{name}{end}" for name in wanted for end in ("", ".py")}
    assert [place for place in places if any(fnmatch(place, each) for each in dropped)] == []
