"""deployment/TESTING.md: every item names tests, and every test it names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "deployment" / "TESTING.md").read_text()


def rows(heading):
    section = DOCUMENT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


PROMISES, CHECKLIST = rows("Promises"), rows("Checklist")
IDS = sorted({name for row in PROMISES + CHECKLIST for name in re.findall(r"`([^`]+)`", row[-1])})


def test_every_promise_of_the_readme_is_there():
    promised = re.findall(r"^(\d)\. \*\*", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [row[0] for row in PROMISES] == promised
    assert len(promised) == 8


def test_the_checklist_is_whole():
    assert len(CHECKLIST) >= 40
    assert len({row[0] for row in CHECKLIST}) == len(CHECKLIST)


@pytest.mark.parametrize("row", PROMISES + CHECKLIST, ids=lambda row: row[-2])
def test_every_item_has_a_test(row):
    assert "::test_" in row[-1]


@pytest.mark.parametrize("name", IDS)
def test_every_id_is_a_test(name):
    path, _, function = name.partition("::")
    tree = ast.parse((ROOT / "tests" / path).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert function in {node.name for node in tree.body if isinstance(node, kinds)}
