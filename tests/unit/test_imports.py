"""What import-linter does not see: who makes replies, and what the image leaves out."""

import ast
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2] / "prixfixe"


def imports(path):
    """Yield what a file imports outside of `if TYPE_CHECKING`, each as the parts of its name."""
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
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((*node.module.split("."), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)


def test_only_replies_makes_replies():
    for folder in ("smtp", "connection"):
        for path in (ROOT / folder).glob("*.py"):
            calls = {
                getattr(node.func, "id", getattr(node.func, "attr", ""))
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Call)
            }
            assert "Reply" not in calls or path.name == "replies.py", path


def test_nothing_is_imported_that_the_image_drops():
    """Its build says so too, minutes later."""
    dropped = (ROOT.parent / "docker" / "prune.txt").read_text().split()
    left_out = (ROOT.parent / "docker" / "prune-app.txt").read_text().split()
    shipped = [
        path
        for path in ROOT.rglob("*.py")
        if not str(path.relative_to(ROOT.parent)).startswith(tuple(left_out))
    ]
    wanted = {name[0] for path in shipped for name in imports(path)}
    assert {"os", "sqlite3"} <= wanted
    places = {f"usr/lib/python3.13/{name}{end}" for name in wanted for end in ("", ".py")}
    assert [place for place in places if any(fnmatch(place, each) for each in dropped)] == []
