"""Every case, in each of its variants, on `prixfixe serve`."""

import pytest

from tests.conformance.runner import play
from tests.conformance.script import load
from tests.conformance.targets import ProcessTarget

CASES = load()
PLAYS = [(case, variant) for case in CASES.values() for variant in case.variants]


@pytest.fixture(scope="session")
def target(tmp_path_factory):
    """One target a worker; it keeps a server for each configuration."""
    target = ProcessTarget(tmp_path_factory.mktemp("target"))
    yield target
    target.close()


@pytest.mark.parametrize(
    ("case", "variant"), PLAYS, ids=[f"{case.id}-{variant}" for case, variant in PLAYS]
)
def test_case(case, variant, target):
    play(case, variant, target)
