"""The floods can fail: a server that is broken in one bound is found by a flood that is named."""

import re

import pytest

from tests.floods.mutants import MUTANTS
from tests.floods.play import Flooded, judge
from tests.floods.servers import ServerProcess, environ_of
from tests.floods.table import FLOODS

ROWS = {one.id: one for one in FLOODS}
# One whose harm is memory, one whose harm is time; the others take theirs.
IN_SHORT = ("no budget for answers", "a slice without an end")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "name",
    [one if one in IN_SHORT else pytest.param(one, marks=pytest.mark.full) for one in MUTANTS],
)
def test_a_server_without_a_bound_is_found(name, places):
    mutant = MUTANTS[name]
    folder, files = places
    told = []
    for flood in map(ROWS.__getitem__, mutant.floods):
        place = folder / f"{name}-{flood.id}".replace(" ", "-")
        server = ServerProcess(place, environ_of(flood.port, files / "users"), mutant.code)
        try:
            told += judge(Flooded(server).play(flood))
        finally:
            server.stop()
        if re.search(mutant.told, "; ".join(told)):
            return
    raise AssertionError(f"{mutant.why}: the floods say {told or 'that all is well'}")


def test_every_mutant_names_floods_of_the_table():
    assert all(set(one.floods) <= set(ROWS) for one in MUTANTS.values())
