"""Why mail did not come: what was stored, what was refused, and what nearly matched."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.testing.message import Message

if TYPE_CHECKING:
    from prixfixe.mail.message import Message as Stored
    from prixfixe.testing.attempts import Attempt
    from prixfixe.testing.wanted import Wanted

__all__ = ["Findings", "explained", "listed"]

_MOST = 10  # lines of each kind
_NEAREST = 3


class Findings(NamedTuple):
    """What there was; `elsewhere` are recipients of mail that was for somebody else."""

    stored: list[Stored]
    elsewhere: list[str]
    refused: list[Attempt]


def explained(wanted: Wanted, came: int, count: int, seconds: float, there: Findings) -> str:
    """Return why a wait failed, in lines."""
    many = "no mail" if not came else f"{came} of {count} messages"
    return "\n".join(
        [
            f"{many} in {seconds:g} s; wanted: {wanted}",
            *_stored(there),
            *_nearest(wanted, there.stored),
            *_refused(there.refused),
        ]
    )


def listed(messages: list[Stored]) -> str:
    """Return messages, a line for each."""
    return "\n".join(_cut([_line(one) for one in messages]))


def _line(stored: Stored) -> str:
    message = Message(stored)
    return f"  from {message.sender} to {', '.join(message.recipients)}: {message.subject!r}"


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST
    return lines if more <= 0 else [*lines[:_MOST], f"  … and {more} more"]


def _stored(there: Findings) -> list[str]:
    if there.stored:
        lines = _cut([_line(one) for one in there.stored])
        return [f"stored for this inbox: {len(there.stored)}", *lines]
    lines = ["stored for this inbox: nothing"]
    if there.elsewhere:
        lines += ["stored meanwhile for others:", *_cut([f"  {one}" for one in there.elsewhere])]
    return lines


def _nearest(wanted: Wanted, stored: list[Stored]) -> list[str]:
    """Return what differs in the messages that differ least."""
    differing = [(one, wanted.differences(one)) for one in stored]
    differing = sorted((one for one in differing if one[1]), key=lambda one: len(one[1]))
    lines: list[str] = []
    for message, differences in differing[:_NEAREST]:
        lines.append(f"nearly: {message.id}")
        for name, expected, actual in differences:
            lines += _difference(name, expected, actual)
    return lines


def _difference(name: str, expected: str, actual: str) -> list[str]:
    """Return two lines that are to be compared, and a line that marks where they differ."""
    compared = difflib.ndiff([expected], [actual])
    return [f"  {name:8}{line.rstrip()}" for line in compared]


def _refused(refused: list[Attempt]) -> list[str]:
    if not refused:
        return []
    lines = [f"refused: {len(refused)}", *_cut([f"  {one}" for one in refused])]
    if refused[-1].transcript:
        lines += ["the last session:", *(f"  {line}" for line in refused[-1].transcript)]
    return lines
