"""A load driver for any SMTP server: what `prixfixe load` sends, counts and reports."""

from prixfixe.load.driver import run
from prixfixe.load.outcome import Outcome
from prixfixe.load.plan import Plan
from prixfixe.load.post import Letter, Post, letter_to
from prixfixe.load.results import Run, as_json
from prixfixe.load.scenarios import SCENARIOS

__all__ = [
    "SCENARIOS",
    "Letter",
    "Outcome",
    "Plan",
    "Post",
    "Run",
    "as_json",
    "letter_to",
    "run",
]
