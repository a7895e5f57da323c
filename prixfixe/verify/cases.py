"""What a case is, how it can end, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.verify.bench import Bench
    from prixfixe.verify.evidence import Evidence

__all__ = ["GROUPS", "LEVELS", "SEVERITIES", "Case", "Outcome", "Result"]

GROUPS = {
    "PF-IMG": "the image as it lies there",
    "PF-RUN": "start, user, signals, stop",
    "PF-SMTP": "the conversation",
    "PF-LIM": "limits",
    "PF-DUR": "what an acknowledgement is worth",
    "PF-HLT": "whether health tells the truth",
    "PF-SEC": "smuggling, injection, floods",
    "PF-TLS": "TLS",
    "PF-OBS": "logs and metrics",
}
SEVERITIES = ("must", "should", "may")
LEVELS = ("static", "smoke", "full", "crash")


class Outcome(StrEnum):
    """How a case ended.

    `skip`: the contract does not promise it, or the server does not offer it. `unverifiable`: it is
    promised, and cannot be seen of this target. `error`: the verifier or its environment failed.
    """

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SKIP = "skip"
    UNVERIFIABLE = "unverifiable"
    WAIVED = "waived"
    ERROR = "error"


@dataclass(frozen=True)
class Case:
    """One promise and how it is checked.

    `source` is an RFC's section or a line of the contract, `evidence` says how it is seen, `level`
    is the first level at which the case is played. `check` raises `CaseError`, `NotOfferedError` or
    `UnseenError`; if it returns, the case passed. Cases with one `track` are played one after the
    other on the same servers, others beside each other. `is_alone`: others would disturb it.
    """

    id: str
    title: str
    severity: str
    source: str
    evidence: str
    check: Callable[[Bench], None]
    level: str = "smoke"
    text: str = ""  # what is sent and expected, where that can be told
    track: str = ""
    is_alone: bool = False

    @property
    def group(self) -> str:
        """The group, such as PF-SMTP."""
        return "-".join(self.id.split("-")[:2])


@dataclass
class Result:
    """How one case went. `replies` and `storage` are judged apart where a case is about both."""

    case: Case
    severity: str
    outcome: Outcome
    why: str = ""
    replies: str = ""
    storage: str = ""
    seconds: float = 0.0
    evidence: list[Evidence] = field(default_factory=list)

    @property
    def is_judged(self) -> bool:
        """Whether something was found out."""
        return self.outcome in (Outcome.PASS, Outcome.FAIL, Outcome.WAIVED)

    def as_json(self) -> dict[str, Any]:
        """Return what the JSON report has of it."""
        told: dict[str, Any] = {
            "id": self.case.id,
            "group": self.case.group,
            "title": self.case.title,
            "severity": self.severity,
            "source": self.case.source,
            "outcome": str(self.outcome),
            "why": self.why,
            "seconds": round(self.seconds, 3),
            "evidence": [{"kind": one.kind, "text": one.text} for one in self.evidence],
        }
        return told | {
            name: getattr(self, name) for name in ("replies", "storage") if getattr(self, name)
        }
