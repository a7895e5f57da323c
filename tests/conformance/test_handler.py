"""The table of SMTP cases with a handler loaded that has every hook and changes nothing.

`PRIXFIXE_WHOLE_TABLE=1` plays every variant of every case. Else the first cases of each letter are
played once, on servers of few configurations: a start takes longer than twenty cases.
"""

import os
import sys
from collections import Counter

import pytest

from prixfixe.verify.dialogue.runner import play
from prixfixe.verify.dialogue.script import load
from tests.conformance.targets import ProcessTarget

IS_WHOLE = bool(os.environ.get("PRIXFIXE_WHOLE_TABLE"))
OF_A_LETTER = 5
CONFIGS = ("D", "A", "T", "Z")


class HandlerTarget(ProcessTarget):
    """`prixfixe serve` with the handler."""

    def settings(self, config):
        return {**super().settings(config), "SMTP_HANDLER": "tests.conformance.noop:EveryHook"}


def short():
    """Return a handful of cases of each letter."""
    counts = Counter()
    for case in load().values():
        is_quick = {part.config for part in case.parts} <= set(CONFIGS)
        if is_quick and counts[case.id[0]] < OF_A_LETTER:
            counts[case.id[0]] += 1
            yield case


def plays():
    for case in load().values() if IS_WHOLE else short():
        for variant in case.variants if IS_WHOLE else case.variants[:1]:
            yield pytest.param(case, variant, id=f"{case.id}-{variant}")


@pytest.fixture(scope="session")
def handled(tmp_path_factory):
    target = HandlerTarget(tmp_path_factory.mktemp("handled"))
    yield target
    target.close()


def test_the_short_form_has_every_letter():
    assert {case.id[0] for case in short()} == {one[0] for one in load()}


@pytest.mark.parametrize(("case", "variant"), list(plays()))
def test_case_with_a_handler(case, variant, handled):
    if case.special == "few_segments" and sys.version_info < (3, 12):
        pytest.skip(
            "a task takes a turn of the loop before Python 3.12, so each reply is sent alone"
        )
    play(case, variant, handled)
