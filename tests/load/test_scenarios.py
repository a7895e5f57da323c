"""The named scenarios: every message is acknowledged and kept, and the server is as it was."""

import pytest

from prixfixe.load import SCENARIOS
from tests.load import figures
from tests.load.proving import prove
from tests.load.warm import aimed

# The others are these again, with more workers or by the clock.
IN_SHORT = ("burst",)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "name",
    [one if one in IN_SHORT else pytest.param(one, marks=pytest.mark.full) for one in SCENARIOS],
)
def test_every_message_is_kept_once_and_the_server_is_as_before(name, start, record):
    box = start()
    plan = aimed(box, SCENARIOS[name])
    prove(box, plan, lambda *measured: record(figures.row(name, *measured)))
