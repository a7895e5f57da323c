import re
from pathlib import Path

import pytest

from tests.durability.order import forget, promised_order, record, unsynced

pytestmark = [pytest.mark.timeout(1800), pytest.mark.usefixtures("tracing")]
DOCUMENT = Path(__file__).parents[2] / "docs" / "durability.md"


def test_f01_nothing_is_uncertain_at_the_250(stand, tmp_path, survived):
    calls = record(stand, tmp_path)
    assert unsynced(stand, calls) == []
    assert promised_order(stand, calls) == documented(stand.technology)
    survived("F01", stand.technology, len(stand.ledger.kept), "messages traced from the first call")


def documented(technology: str) -> list[str]:
    """Return the steps docs/durability.md gives for a store."""
    block = re.search(
        rf"```{technology}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL
    )
    return block[1].splitlines()


def test_f06_every_disk_a_cut_could_leave(make_stand, technology, tmp_path, amount, survived):
    stand = make_stand(technology, "small-log")
    calls = record(stand, tmp_path, together=3)
    problems, count = forget(stand, calls, tmp_path, amount(60, 2000), amount(4, 1000))
    assert problems == []
    survived("F06", stand.technology, count, "modelled disks")
