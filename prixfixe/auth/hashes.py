"""Password hashes: `$scrypt$`, bcrypt's `$2b$`, and SCRAM's from `smtp.scram`.

A check takes a tenth of a second, so run it in a thread. A hash that would take more than 64 MiB or
many seconds is refused when it is read.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import os
import re
import unicodedata
from base64 import b64decode, b64encode
from binascii import Error as BinasciiError
from typing import TYPE_CHECKING, NamedTuple, Protocol

from prixfixe.smtp.scram import parse_keys

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PasswordHash", "composed", "hash_password", "parse_hash", "prepare"]

# One of the settings of the OWASP password storage cheat sheet: 16 MiB, about 0.1 s.
_LOG_N, _BLOCK_SIZE, _PARALLEL = 14, 8, 5
_SALT_OCTETS, _DIGEST_OCTETS = 16, 32
_MAX_MEMORY = 64 * 2**20
_MAX_PARALLEL = 16
# Every step doubles the time: 15 takes about 2 s.
_MAX_BCRYPT_COST = 15
_BCRYPT_OCTETS = 72
_MAX_COMPOSED = 512

_SCRYPT = r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
_BCRYPT = r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}"


class PasswordHash(Protocol):
    """One stored hash."""

    def matches(self, password: bytes) -> bool:
        """Return whether this is the password, already prepared; it takes about 0.1 s."""


def composed(text: str) -> str:
    """Return a name or password in NFC; a text over 512 characters is returned unchanged.

    Ordering of combining marks takes quadratic time: up to 65 ms of the event loop for a line of
    AUTH.
    """
    return unicodedata.normalize("NFC", text) if len(text) <= _MAX_COMPOSED else text


def prepare(password: bytes) -> bytes:
    """Normalise a password as the profile OpaqueString does (RFC 8265 section 4.2).

    Spaces of any script become U+0020, then comes NFC; case stays. That profile replaces
    SASLprep (RFC 4013). Octets that are not UTF-8 stay as they are.
    """
    try:
        text = password.decode()
    except UnicodeDecodeError:
        return password
    if text.isascii():
        return password
    spaced = "".join(" " if unicodedata.category(c) == "Zs" else c for c in text)
    return composed(spaced).encode()


def hash_password(
    password: str, random: Callable[[int], bytes] = os.urandom, *, log_n: int = _LOG_N
) -> str:
    """Return the text to store for a password.

    A lower `log_n` is for passwords that are no secret, as in tests: a check takes less time.

    Raises:
        ValueError: the password is empty.

    """
    if not password:
        raise ValueError("expected a password that is not empty")
    salt = random(_SALT_OCTETS)
    made = _Scrypt(log_n, _BLOCK_SIZE, _PARALLEL, salt, bytes(_DIGEST_OCTETS))
    digest = made.derive(prepare(password.encode()))
    costs = f"ln={log_n},r={_BLOCK_SIZE},p={_PARALLEL}"
    return f"$scrypt${costs}${_encode(salt)}${_encode(digest)}"


def parse_hash(text: str) -> PasswordHash:
    """Parse one stored hash.

    Raises:
        ValueError: the format is unknown or the cost is too high; the text is meant for the
            operator.

    """
    if match := re.fullmatch(_SCRYPT, text):
        return _parse_scrypt(match)
    if match := re.fullmatch(_BCRYPT, text):
        return _parse_bcrypt(text, int(match[1]))
    if keys := parse_keys(text):
        return keys
    msg = "expected a hash from `prixfixe hash-password`, or bcrypt's ($2b$, $2y$) from htpasswd -B"
    raise ValueError(msg)


class _Scrypt(NamedTuple):
    """RFC 7914."""

    log_n: int
    block_size: int
    parallel: int
    salt: bytes
    digest: bytes

    def __repr__(self) -> str:
        return "<scrypt hash>"

    @property
    def memory(self) -> int:
        return 128 * self.block_size * ((1 << self.log_n) + self.parallel)

    def derive(self, password: bytes) -> bytes:
        return hashlib.scrypt(
            password,
            salt=self.salt,
            n=1 << self.log_n,
            r=self.block_size,
            p=self.parallel,
            maxmem=self.memory + 2**20,  # OpenSSL uses a few more blocks than the RFC.
            dklen=len(self.digest),
        )

    def matches(self, password: bytes) -> bool:
        return hmac.compare_digest(self.derive(password), self.digest)


class _Bcrypt(NamedTuple):
    encoded: bytes
    check: Callable[[bytes, bytes], bool]

    def __repr__(self) -> str:
        return "<bcrypt hash>"

    def matches(self, password: bytes) -> bool:
        # bcrypt ignores the rest, but newer packages refuse it.
        return self.check(password[:_BCRYPT_OCTETS], self.encoded)


def _parse_scrypt(match: re.Match[str]) -> _Scrypt:
    log_n, block_size, parallel = (int(match[number]) for number in (1, 2, 3))
    made = _Scrypt(log_n, block_size, parallel, _decode(match[4]), _decode(match[5]))
    if not 1 <= parallel <= _MAX_PARALLEL or not log_n or not block_size:
        raise ValueError(f"expected scrypt costs of at least 1 and p of at most {_MAX_PARALLEL}")
    if made.memory > _MAX_MEMORY + 2**20:
        raise ValueError("expected scrypt costs of at most 64 MiB (ln=16,r=8)")
    if len(made.salt) < 8 or not 16 <= len(made.digest) <= 64:
        raise ValueError("expected a scrypt salt of 8 octets or more and a digest of 16 to 64")
    return made


def _parse_bcrypt(text: str, cost: int) -> _Bcrypt:
    if not 4 <= cost <= _MAX_BCRYPT_COST:
        raise ValueError(f"expected a bcrypt cost from 4 to {_MAX_BCRYPT_COST}")
    try:
        bcrypt = importlib.import_module("bcrypt")
    except ImportError as error:
        msg = "a bcrypt hash needs the package bcrypt: pip install bcrypt, or hash it anew"
        raise ValueError(msg) from error
    return _Bcrypt(text.encode("ascii"), bcrypt.checkpw)


def _encode(octets: bytes) -> str:
    return b64encode(octets).decode("ascii").rstrip("=")


def _decode(text: str) -> bytes:
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except BinasciiError as error:
        raise ValueError("expected base64 in the scrypt hash") from error
