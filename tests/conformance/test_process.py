"""Every case, in each of its variants, on `prixfixe serve`."""

import re

import pytest

from prixfixe.verify.dialogue.runner import play
from prixfixe.verify.dialogue.script import load
from tests.conformance.targets import ProcessTarget

CASES = load()
PLAYS = [(case, variant) for case in CASES.values() for variant in case.variants]


@pytest.fixture(scope="session")
def target(tmp_path_factory):
    """One target a worker; it keeps a server for each configuration."""
    target = ProcessTarget(tmp_path_factory.mktemp("target"))
    yield target
    target.close()


class TakingBareLf:
    """A target that takes a bare LF, whatever else it is."""

    def __init__(self, target):
        self._target = target

    def using(self, config):
        return self._target.using(config + "L")

    def __getattr__(self, name):
        return getattr(self._target, name)


SMUGGLING = [(case, variant) for case, variant in PLAYS if re.search("smuggl|CVE-", case.source)]


@pytest.mark.parametrize(
    ("case", "variant"), SMUGGLING, ids=[f"{case.id}-{variant}" for case, variant in SMUGGLING]
)
def test_nothing_is_smuggled_where_bare_lf_is_taken(case, variant, target):
    play(case, variant, TakingBareLf(target))


@pytest.mark.parametrize(
    ("case", "variant"), PLAYS, ids=[f"{case.id}-{variant}" for case, variant in PLAYS]
)
def test_case(case, variant, target):
    play(case, variant, target)
