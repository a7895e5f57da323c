"""Load for any SMTP server: what `prixfixe load` sends, counts and tells.

Owns: what to send (`plan`, `scenarios`, `post`), the driver (`driver`) with its SMTP client
(`client`) and one of other hands (`with_aiosmtplib`), the counts (`outcome`, `histogram`), and what
is told of them (`results`, `report`, `page`).
Promises: every message that was started ends in exactly one count: a reply code or an error; in an
open loop latency counts from the moment a message was due, so a server that stalls cannot hide
what it made others wait (no coordinated omission).
Refuses: anything of the server; it knows SMTP, not PrixFixe.
"""

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
