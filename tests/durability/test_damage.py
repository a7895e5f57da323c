import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.durability import damage

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Path]:
    """Return where to damage copies: in memory if there is such a place, for their thousands."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        dir=memory if os.access(memory, os.W_OK) else tmp_path
    ) as made:
        yield Path(made) / "copy"


def test_f07_torn_tail(stand, copy, request, survived):
    damage.prepare(stand)
    stride = 1 if request.config.getoption("--full") else 211
    problems, count = damage.tear(stand, copy, stride)
    assert problems == []
    assert count > 40
    survived("F07", stand.technology, count, "torn tails")


def test_f07_flipped_bit_of_the_last_record(stand, copy, amount, survived):
    damage.prepare(stand)
    problems, count = damage.flip(stand, copy, range(amount(150, 1000)))
    assert problems == []
    survived("F07", stand.technology, count, "bits flipped in the last record")


def test_f07_flipped_bit_anywhere(stand, copy, amount, survived):
    damage.prepare(stand)
    stand.start().terminate()
    problems, count = damage.flip_cold(stand, copy, range(amount(300, 3000)))
    assert problems == []
    survived("F07", stand.technology, count, "bits flipped at rest")
