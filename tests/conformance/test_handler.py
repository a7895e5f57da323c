"""The table of SMTP cases with a handler loaded that has every hook and changes nothing.

`PRIXFIXE_WHOLE_TABLE=1` plays every variant of every case. Else some commands' cases are played once.
"""

import os
import sys

import pytest

from prixfixe.verify.dialogue.runner import play
from prixfixe.verify.dialogue.script import load
from tests.conformance.targets import ProcessTarget

IS_WHOLE = bool(os.environ.get("PRIXFIXE_WHOLE_TABLE"))
SHORT = "GRV"  # groups of cases about commands that have hooks, all of them quick
SLOW = ("R08", "V08")


class HandlerTarget(ProcessTarget):
    """`prixfixe serve` with the handler."""

    def settings(self, config):
        return {**super().settings(config), "SMTP_HANDLER": "tests.conformance.noop:EveryHook"}


def plays():
    for case in load().values():
        is_short = case.id[0] in SHORT and case.id not in SLOW
        for variant in case.variants if IS_WHOLE else case.variants[:is_short]:
            yield pytest.param(case, variant, id=f"{case.id}-{variant}")


@pytest.fixture(scope="session")
def handled(tmp_path_factory):
    target = HandlerTarget(tmp_path_factory.mktemp("handled"))
    yield target
    target.close()


@pytest.mark.parametrize(("case", "variant"), list(plays()))
def test_case_with_a_handler(case, variant, handled):
    if case.special == "few_segments" and sys.version_info < (3, 12):
        pytest.skip(
            "a task takes a turn of the loop before Python 3.12, so each reply is sent alone"
        )
    play(case, variant, handled)
