"""The named scenarios: every message is acknowledged and kept, and the server is as it was."""

from dataclasses import replace

import pytest

from prixfixe.load import SCENARIOS
from tests.load import figures
from tests.load.proving import prove
from tests.load.warm import aimed

SHORT = 10.0  # seconds of an open loop, unless all is asked for


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_message_is_kept_once_and_the_server_is_as_before(name, start, record, is_all):
    box = start()
    plan = aimed(box, SCENARIOS[name])
    if plan.rate and not is_all:
        plan = replace(plan, messages=round(plan.rate * SHORT))
    prove(box, plan, lambda *measured: record(figures.row(name, *measured)))
