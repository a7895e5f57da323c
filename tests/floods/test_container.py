"""Every flood of the table on a container that has what compose allows."""

import pytest

from tests.floods.conftest import rows

pytestmark = [pytest.mark.timeout(300)]


@pytest.mark.parametrize("row", rows("both"))
def test_a_flood_is_held(row, containers, flood):
    flood(containers, row, "container")
