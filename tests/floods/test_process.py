"""Every flood of the table on a server in a process of its own."""

import pytest

from tests.floods.conftest import rows

pytestmark = [pytest.mark.timeout(300)]


@pytest.mark.parametrize("row", rows("process", "both"))
def test_a_flood_is_held(row, processes, flood):
    flood(processes, row, "process")
