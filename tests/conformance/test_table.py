"""The table itself: nothing left out, nothing that cannot fail."""

import re

import pytest

from prixfixe.verify.dialogue.script import load, parse
from prixfixe.verify.dialogue.specials import FUNCTIONS
from tests.conformance.report import FAIL, results
from tests.conformance.stock import StockTarget

CASES = load()
ROWS = {"G": 12, "O": 11, "P": 27, "R": 12, "S": 5, "B": 3, "U": 4, "D": 20, "L": 11, "K": 8,
        "M": 10, "V": 8, "A": 9, "T": 11, "X": 8, "Y": 5}  # fmt: skip
# What stock aiosmtpd 1.4.6 was seen to fail by hand, less what takes long to play.
STOCK_FAILS = [
    "A04",
    "A05",
    "A06",
    "A08",
    "A09",
    "G11",
    "G12",
    "L08",
    "M08",
    "M10",
    "O11",
    "P02",
    "P04",
    "P05",
    "P07",
    "P08",
    "P11",
    "P13",
    "P15",
    "P16",
    "P18",
    "P19",
    "P20",
    "P22",
    "P25",
    "R03",
    "R07",
    "R08",
    "R10",
    "R11",
    "R12",
    "S03",
    "T06",
    "T10",
    "U02",
    "U03",
    "V01",
    "V05",
    "V06",
    "V07",
    "V08",
    "X04",
    "Y03",
]


def test_every_row_is_there():
    rows = {f"{letter}{n:02}" for letter, count in ROWS.items() for n in range(1, count + 1)}
    assert len(rows) == 164
    assert {one for one in CASES if one[0] != "N"} == rows


def test_every_case_says_why_and_expects_something():
    for case in CASES.values():
        assert re.search(r"RFC|CVE|CWE|#|[a-z]", case.source), case.id
        assert case.reason.endswith("."), case.id
        kinds = {step.kind for part in case.parts for step in part.steps}
        outcomes = [part for part in case.parts if part.outcomes]
        assert case.special or "expect" in kinds or outcomes, case.id


def test_every_special_is_some_cases():
    assert {case.special for case in CASES.values()} - {""} == set(FUNCTIONS)


@pytest.mark.parametrize("text", ["== G1 M D, x", "== G01 M Q, x", "== G01 M D, x\nwhy\n\nX: y"])
def test_a_mistake_in_a_file_names_its_line(tmp_path, text):
    path = tmp_path / "wrong.smtp"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"wrong\.smtp:\d"):
        parse(path)


def test_what_one_part_needs_the_case_needs(tmp_path):
    path = tmp_path / "two.smtp"
    path.write_text("== G01 M D, x\nWhy.\n\nneeds: A B\nC: x\n--\nneeds: C\nC: y\n")
    (case,) = parse(path)
    assert case.needs == ("A", "B", "C")


def test_cases_can_fail(tmp_path):
    target = StockTarget(tmp_path)
    try:
        found = list(results([CASES[name] for name in STOCK_FAILS], target, by_class=False))
    finally:
        target.close()
    assert [one.case.id for one in found if one.outcome != FAIL] == []
