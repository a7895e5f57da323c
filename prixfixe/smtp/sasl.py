"""SASL mechanisms PLAIN (RFC 4616), LOGIN and SCRAM-SHA-256 (RFC 7677) as generators.

Each yields challenges, receives responses, and returns the credentials or the proof.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as BinasciiError
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.smtp import replies
from prixfixe.smtp.scram import Challenge

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from prixfixe.smtp.replies import Reply
    from prixfixe.smtp.scram import Keys

    Exchange = Generator[bytes, bytes, "Claim"]

__all__ = [
    "EXCHANGES",
    "SCRAM",
    "Claim",
    "Confirmed",
    "Credentials",
    "Proof",
    "SaslError",
    "challenge",
    "confirmed",
    "decode",
    "decode_initial",
    "scram",
]

SCRAM = b"SCRAM-SHA-256"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Credentials(NamedTuple):
    """User and password as the client sent them; the password never appears in a repr."""

    user: str
    password: bytes

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, password=...)"


class Proof(NamedTuple):
    """A SCRAM proof; `signature` is the server's answer, or empty if the proof is wrong."""

    user: str
    keys: Keys
    signature: bytes


class Confirmed(NamedTuple):
    """An accepted login whose client has received the server's own proof."""

    user: str


Claim = Credentials | Proof | Confirmed


class SaslError(ValueError):
    """The exchange failed before any credentials were checked."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.wire)
        self.reply = reply


def challenge(text: bytes) -> bytes:
    """Return the wire form of a challenge (RFC 4954 section 4)."""
    return b"334 " + b64encode(text) + b"\r\n"


def decode_initial(response: bytes) -> bytes:
    """Decode an initial response; `=` is an empty one (RFC 4954 section 4).

    Raises:
        SaslError: cancelled, or not base64.

    """
    return b"" if response == b"=" else decode(response)


def decode(response: bytes) -> bytes:
    """Decode one response; `*` cancels (RFC 4954 section 4).

    Raises:
        SaslError: cancelled, or not base64.

    """
    if response == b"*":
        raise SaslError(replies.AUTH_CANCELLED)
    try:
        return b64decode(response, validate=True)
    except BinasciiError as error:
        raise SaslError(replies.BAD_BASE64) from error


def plain(initial: bytes | None) -> Exchange:
    """Run PLAIN: `authzid NUL user NUL password`, where authzid is empty or the user."""
    response = initial if initial is not None else (yield b"")
    parts = response.split(b"\0")
    if len(parts) != 3 or parts[0] not in (b"", parts[1]):
        raise SaslError(replies.BAD_CREDENTIALS)
    return Credentials(_user(parts[1]), parts[2])


def login(initial: bytes | None) -> Exchange:
    """Run LOGIN: a user, then a password."""
    user = initial if initial is not None else (yield b"Username:")
    password = yield b"Password:"
    return Credentials(_user(user), password)


def scram(initial: bytes | None, keys_of: Callable[[str], Keys]) -> Exchange:
    """Run SCRAM-SHA-256 up to the client's proof (RFC 5802 section 5)."""
    first = initial if initial is not None else (yield b"")
    try:
        question = Challenge(first, keys_of)
        final = yield question.text
        return Proof(question.user, question.keys, question.answer(final))
    except ValueError as error:
        raise SaslError(replies.BAD_SCRAM) from error


def confirmed(user: str, signature: bytes) -> Exchange:
    """Send the server's proof; the client confirms it with an empty response."""
    if (yield signature):
        raise SaslError(replies.BAD_SCRAM)
    return Confirmed(user)


def _user(octets: bytes) -> str:
    """Return the user name; an empty one or one with control characters is refused.

    RFC 4616 section 2 demands both for PLAIN. With SMTP_AUTH=any, this is the only check.
    """
    try:
        user = octets.decode()
    except UnicodeDecodeError as error:
        raise SaslError(replies.BAD_CREDENTIALS) from error
    if not user or _CONTROL.search(user) is not None:
        raise SaslError(replies.BAD_CREDENTIALS)
    return user


EXCHANGES: dict[bytes, Callable[[bytes | None], Exchange]] = {
    b"PLAIN": plain,
    b"LOGIN": login,
}
