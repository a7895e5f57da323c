"""PF-SMTP: the table of dialogues, each a case."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from prixfixe.verify.cases import Case
from prixfixe.verify.dialogue.runner import play
from prixfixe.verify.dialogue.script import load
from prixfixe.verify.dialogue.servers import NotOfferedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.verify.bench import Bench
    from prixfixe.verify.dialogue import script

__all__ = ["UNPUBLISHED", "cases"]

SEVERITY = {"M": "must", "S": "should", "P": "may"}
SMOKE = ("whole",)
FEW = ("whole", "glued")  # where each look at the mailbox takes its time
BATCHES = ("tail", "glued")
# Played on PrixFixe only: what others do in these was not told to those who could mend it.
UNPUBLISHED = frozenset(("K06", "N38", "N70", "P23", "P24"))
# They measure what a server's neighbours disturb.
ALONE = frozenset(("few_segments", "floods_are_fair", "never_reads"))


def cases() -> Iterator[Case]:
    """Return the cases of the table."""
    for one in load().values():
        is_quick = one.config == "D" and not one.special
        yield Case(
            f"PF-SMTP-{one.id}",
            one.reason,
            SEVERITY[one.level],
            one.source,
            "transcript, and what is stored",
            partial(_play, one),
            "smoke" if is_quick else "full",
            one.text.strip(),
            one.config,
            one.special in ALONE,
        )


def _play(case: script.Case, bench: Bench) -> None:
    if case.id in UNPUBLISHED and not bench.protocol("strict", default=False):
        raise NotOfferedError("played only on servers that promise it (protocol.strict)")
    variants = case.variants if bench.is_full else SMOKE
    if bench.is_full and not bench.is_crash and not bench.reads_at_once:
        variants = FEW
    if not bench.protocol("pipelining"):
        variants = tuple(one for one in variants if one not in BATCHES)
    by_class = not bench.protocol("strict", default=False)
    for variant in variants:
        if variant in case.variants:
            play(case, variant, bench.target, by_class=by_class)
