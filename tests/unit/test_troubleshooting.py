"""DEPLOYMENT.md, When something is wrong: what it quotes is what the code says."""

import ast
import errno
import json
import re

import pytest

from prixfixe.cli.probe import _failing
from prixfixe.settings import SettingsError, load
from prixfixe.stores.disk.folder import explain
from prixfixe.telemetry import readiness
from tests.documents.generated import ROOT

PART = (ROOT / "DEPLOYMENT.md").read_text().partition("\n## When something is wrong\n")[2]


def messages_of_the_code():
    """What the package and the scripts can say: every text, with … for what is filled in."""
    for path in (ROOT / "prixfixe").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(
                    part.value if isinstance(part, ast.Constant) else "…" for part in node.values
                )
    for path in (ROOT / "scripts").glob("*.sh"):
        for text in re.findall(r'"((?:[^"\\\n]|\\.)+)"', path.read_text()):
            yield re.sub(r"\$(\{[^}]*\}|\w+)", "…", text)


def messages_put_together():
    """What no single text of the code says."""
    for number in (errno.EACCES, errno.EROFS):
        yield str(explain(ROOT, OSError(number, "")))
    with pytest.raises(SettingsError) as refused:
        load({"SMTP_PORT": "soon"})
    yield str(refused.value)
    for detail in ("no room", readiness.DETAILS["displaced"]):
        checks = {"store": {"ok": False, "detail": detail}}
        yield f"not ready: {_failing(json.dumps({'checks': checks}).encode())}"


def test_what_one_sees_when_something_is_wrong_is_what_is_said():
    """Each message of the table, with … for any text, is in one text of the code."""
    shown = re.findall(r"^\| `(\D[^`]+)` \|", PART, re.MULTILINE)
    said = [*messages_of_the_code(), *messages_put_together()]
    assert len(shown) > 9
    for message in shown:
        pattern = ".*".join(map(re.escape, message.split("…")))
        assert any(re.search(pattern, text, re.DOTALL) for text in said), message


def test_messages_in_the_troubleshooting_table_are_the_servers():
    shown = re.findall(r"^\| `(\d{3}) (\S+) ([^`]+)`", PART, re.MULTILINE)
    source = (ROOT / "prixfixe" / "smtp" / "replies.py").read_text()
    assert len(shown) > 3
    for code, enhanced, words in shown:
        assert re.search(rf'{code},\s*"{re.escape(enhanced)}",\s*"{re.escape(words)}', source), (
            words
        )
