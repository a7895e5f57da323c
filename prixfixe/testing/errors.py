"""What goes wrong in a test, as exceptions whose text says what was there instead."""

from __future__ import annotations

__all__ = ["ExtractError", "KitError", "MailNotFoundError", "UnexpectedMailError"]


class KitError(RuntimeError):
    """The kit was used wrongly, or its server cannot do it; the text says what to do instead."""


class MailNotFoundError(AssertionError):
    """The mail did not come in time; the text says what was there, and what was refused."""


class UnexpectedMailError(AssertionError):
    """There is mail, where a test said that there is none."""


class ExtractError(AssertionError):
    """A message has no such link, code or file; the text says what it has."""
