"""The matrix of broken images: every one is there, and is told by a case that exists."""

from pathlib import Path

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
