"""The matrix of broken images: every one is there, and is told by a case that exists."""

import ast
from pathlib import Path

import pytest

from prixfixe.verify.groups import all_cases
from tests.container.mutants.table import MUTANTS
from tests.verify.teeth import NAMED

DOCUMENT = Path(__file__).parents[2] / "docs" / "verify-teeth.md"
CASES = {one.id for one in all_cases()}


def test_every_broken_image_has_cases_named_for_it():
    assert NAMED.keys() == MUTANTS.keys()
    assert {f"PF-{one}" for names in NAMED.values() for one in names.split()} <= CASES


def test_the_document_has_every_broken_image_with_a_case_that_tells():
    rows = [line.split(" | ") for line in DOCUMENT.read_text().splitlines() if line[:2] == "| "]
    found = {row[0].removeprefix("| "): row[2].removesuffix(" |").split(", ") for row in rows[1:]}
    assert found.keys() == MUTANTS.keys()
    assert {one for cases in found.values() for one in cases} <= CASES


def patched(code):
    """The names that a broken server's code sets on what it imports, each with what has it."""
    tree, known = ast.parse(code), {}
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), "<imports>", "exec"), known)
    for node in tree.body:
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Attribute):
                yield eval(ast.unparse(target.value), known), target.attr


@pytest.mark.parametrize("name", [name for name, one in MUTANTS.items() if one.code])
def test_what_a_broken_server_replaces_is_there(name):
    """Who sets a name that moved breaks nothing."""
    assert [attr for holder, attr in patched(MUTANTS[name].code) if not hasattr(holder, attr)] == []
