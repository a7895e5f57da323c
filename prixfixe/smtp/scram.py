"""The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677): stored keys, challenge and proof.

Comparisons take constant time. A challenge for an unknown user looks like that for a known one and
does not change between attempts. No repr shows a key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stringprep
import unicodedata
from base64 import b64decode, b64encode
from binascii import Error as BinasciiError
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Challenge", "Decoys", "Keys", "make_keys", "parse_keys"]

# About 0.1 s, also for the client at every login. RFC 7677 section 4 demands at least 4096.
_ITERATIONS = 2**17
_MIN_ITERATIONS, _MAX_ITERATIONS = 4096, 2**21
_SALT_OCTETS, _KEY_OCTETS, _NONCE_OCTETS = 16, 32, 18
_MIN_SALT_OCTETS, _MAX_SALT_OCTETS = 8, 32
_MAX_PASSWORD = 1024  # characters: see `auth.hashes.composed`

_STORED = re.compile(
    r"SCRAM-SHA-256\$(\d{1,7}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)"
)
# RFC 5802 section 7. A channel binding (`p=`) and mandatory extensions (`m=`) do not match.
_FIRST = re.compile(r"([ny],(?:a=([^,]+))?,)(n=([^,]+),r=([\x21-\x2b\x2d-\x7e]{1,256})(?:,.*)?)")
_FINAL = re.compile(r"(c=([^,]+),r=([^,]+)(?:,.*)?),p=([A-Za-z0-9+/=]+)", re.DOTALL)
_ESCAPE = re.compile("=(2C|3D)?")
# RFC 4013 section 2.3.
_PROHIBITED = (
    *(stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3),
    *(stringprep.in_table_c4, stringprep.in_table_c5, stringprep.in_table_c6),
    *(stringprep.in_table_c7, stringprep.in_table_c8, stringprep.in_table_c9),
)


class Keys(NamedTuple):
    """One user's stored keys: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` (RFC 5803)."""

    iterations: int
    salt: bytes
    stored: bytes
    server: bytes

    def __repr__(self) -> str:
        return "<scram keys>"

    def __str__(self) -> str:
        return repr(self)

    def matches(self, password: bytes) -> bool:
        """Return whether this is the password, for PLAIN and LOGIN; it takes about 0.1 s."""
        try:
            derived = _derive(password.decode(), self.iterations, self.salt)
        except ValueError:
            return False
        return hmac.compare_digest(derived.stored, self.stored)

    def is_proven(self, message: bytes, proof: bytes) -> bool:
        """Return whether a client's proof over `message` is right (RFC 5802 section 3)."""
        signature = hmac.digest(self.stored, message, "sha256")
        if len(proof) != len(signature):
            return False
        key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        return hmac.compare_digest(hashlib.sha256(key).digest(), self.stored)


def make_keys(password: str, random: Callable[[int], bytes] = os.urandom) -> str:
    """Return the text to store for a password.

    Raises:
        ValueError: the password is empty, too long, or has a character that no client may send.

    """
    keys = _derive(password, _ITERATIONS, random(_SALT_OCTETS))
    salt, stored, server = map(_encode, keys[1:])
    return f"SCRAM-SHA-256${keys.iterations}:{salt}${stored}:{server}"


def parse_keys(text: str) -> Keys | None:
    """Parse stored keys; return None for another kind of hash.

    Raises:
        ValueError: the keys cannot be used; the text is meant for the operator.

    """
    match = _STORED.fullmatch(text)
    if match is None:
        return None
    keys = Keys(int(match[1]), *(_decode(match[number]) for number in (2, 3, 4)))
    if not _MIN_ITERATIONS <= keys.iterations <= _MAX_ITERATIONS:
        raise ValueError(f"expected {_MIN_ITERATIONS} to {_MAX_ITERATIONS} iterations of SCRAM")
    if not _MIN_SALT_OCTETS <= len(keys.salt) <= _MAX_SALT_OCTETS:
        raise ValueError(f"expected a salt of {_MIN_SALT_OCTETS} to {_MAX_SALT_OCTETS} octets")
    if {len(keys.stored), len(keys.server)} != {_KEY_OCTETS}:
        raise ValueError(f"expected keys of {_KEY_OCTETS} octets")
    return keys


class Decoys:
    """Keys for unknown users: they look like real ones, and their salt stays the same.

    The salts are derived from the keys of two users. One user knows his own keys, so with one he
    could compute the salts. With more than two, any change of the file would change the salts.
    """

    def __init__(self, real: Sequence[Keys]) -> None:
        self._key = b"".join(keys.server for keys in real[:2])
        self._costs = sorted({(keys.iterations, len(keys.salt)) for keys in real})

    def keys(self, user: str) -> Keys:
        """Return keys that no proof matches."""
        digest = hmac.digest(self._key, user.encode("utf-8", "surrogatepass"), "sha512")
        number = int.from_bytes(digest[_MAX_SALT_OCTETS:], "big") % len(self._costs)
        iterations, octets = self._costs[number]
        random = os.urandom(2 * _KEY_OCTETS)
        return Keys(iterations, digest[:octets], random[:_KEY_OCTETS], random[_KEY_OCTETS:])


class Challenge:
    """The server's side of one exchange, made from the client's first message.

    Raises:
        ValueError: the message is not one of RFC 5802, or asks for a feature that is not offered.

    """

    def __init__(
        self, first: bytes, keys_of: Callable[[str], Keys], nonce: str | None = None
    ) -> None:
        match = _FIRST.fullmatch(first.decode())
        if match is None:
            raise ValueError("expected a client-first-message without channel binding")
        self._header, authorised, self._bare, user, theirs = match.groups()
        self.user = _unescape(user)
        if authorised is not None and _unescape(authorised) != self.user:
            raise ValueError("expected no other user to act for")
        self.keys = keys_of(self.user)
        ours = _encode(os.urandom(_NONCE_OCTETS)) if nonce is None else nonce
        self._nonce = theirs + ours
        salt = _encode(self.keys.salt)
        self._said = f"r={self._nonce},s={salt},i={self.keys.iterations}"

    @property
    def text(self) -> bytes:
        """Return the server's first message."""
        return self._said.encode()

    def answer(self, final: bytes) -> bytes:
        """Check the client's proof; return the server's message, or b"" if the proof is wrong.

        Raises:
            ValueError: `final` is not a message of RFC 5802.

        """
        match = _FINAL.fullmatch(final.decode())
        if match is None:
            raise ValueError("expected a client-final-message")
        without_proof, binding, nonce, proof = match.groups()
        message = f"{self._bare},{self._said},{without_proof}".encode()
        is_ours = binding == _encode(self._header.encode()) and hmac.compare_digest(
            nonce.encode(), self._nonce.encode()
        )
        if not self.keys.is_proven(message, _decode(proof)) or not is_ours:
            return b""
        return b"v=" + b64encode(hmac.digest(self.keys.server, message, "sha256"))


def _derive(password: str, iterations: int, salt: bytes) -> Keys:
    prepared = _prepare(password).encode()
    salted = hashlib.pbkdf2_hmac("sha256", prepared, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return Keys(iterations, salt, hashlib.sha256(client_key).digest(), server_key)


def _prepare(password: str) -> str:
    """Prepare a password as clients must: SASLprep (RFC 4013)."""
    if len(password) > _MAX_PASSWORD:
        raise ValueError(f"expected a password of at most {_MAX_PASSWORD} characters")
    mapped = "".join(
        " " if stringprep.in_table_c12(letter) else letter
        for letter in password
        if not stringprep.in_table_b1(letter)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not prepared:
        raise ValueError("expected a password that is not empty")
    if any(is_bad(letter) for letter in prepared for is_bad in _PROHIBITED):
        raise ValueError("expected a password without control and private characters (RFC 4013)")
    return prepared


def _unescape(name: str) -> str:
    """Decode `=2C` and `=3D` in a name to a comma and an equals sign."""
    if "" in _ESCAPE.findall(name):
        raise ValueError("expected =2C or =3D")
    return name.replace("=2C", ",").replace("=3D", "=")


def _encode(octets: bytes) -> str:
    return b64encode(octets).decode("ascii")


def _decode(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except BinasciiError as error:
        raise ValueError("expected base64 in what SCRAM stores or sends") from error
