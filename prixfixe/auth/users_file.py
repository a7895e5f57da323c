"""The users file of SMTP_AUTH_USERS: `user:hash` lines."""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import TYPE_CHECKING

from prixfixe.auth.hashes import composed, parse_hash
from prixfixe.runtime.watch import open_plain
from prixfixe.smtp.scram import Decoys, Keys

if TYPE_CHECKING:
    from prixfixe.auth.hashes import PasswordHash

__all__ = ["Users", "UsersError", "parse_users", "read_users"]

_MAX_FILE_OCTETS = 16 * 2**20


class UsersError(ValueError):
    """The users file cannot be used; the text names setting, path and line, never a hash."""


class Users:
    """The users as read from the file once.

    A reload makes a new object, so the result of a check during the reload does not apply to it.
    A name is the same in every Unicode composition.
    """

    def __init__(self, hashes: dict[str, PasswordHash]) -> None:
        self._hashes = hashes
        keys = [each for each in hashes.values() if isinstance(each, Keys)]
        self.has_scram = 0 < len(keys) == len(hashes)
        self._decoys = Decoys(keys)
        self.verified: dict[str, bytes] = {}  # user -> a digest of the password that was right

    def find(self, user: str) -> PasswordHash | None:
        """Return the stored hash of a user, or None."""
        return self._hashes.get(composed(user))

    def hash_to_check(self, user: str) -> PasswordHash:
        """Return the user's hash; for an unknown user another's, so that a check costs the same."""
        secret = self.find(user)
        if secret is None:
            # Python's hash is keyed: the choice is constant, but a client cannot predict it.
            secret = list(self._hashes.values())[hash(user) % len(self._hashes)]
        return secret

    def keys(self, user: str) -> Keys:
        """Return the user's SCRAM keys; for a user without, keys that no proof matches."""
        known, decoy = self.find(user), self._decoys.keys(composed(user))
        return known if isinstance(known, Keys) else decoy


def parse_users(octets: bytes) -> dict[str, PasswordHash]:
    """Parse `user:hash` lines; blank lines, lines that begin with `#` and a BOM are skipped.

    Raises:
        UsersError: a line is bad, a user has two lines, or there is no user; the text has the line
            number.

    """
    users: dict[str, PasswordHash] = {}
    for number, line in enumerate(octets.removeprefix(BOM_UTF8).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        try:
            user, secret = _parse_line(line)
            if user in users:
                raise ValueError(f"user {user!r} has a line already")  # noqa: TRY301
        except ValueError as error:
            msg = f"line {number}: {error}"
            raise UsersError(msg) from error
        users[user] = secret
    if not users:
        raise UsersError("expected at least one line `user:hash`")
    return users


def _parse_line(line: bytes) -> tuple[str, PasswordHash]:
    try:
        user, colon, secret = line.decode().strip().partition(":")
    except UnicodeDecodeError:
        raise ValueError("expected UTF-8") from None  # The original text would show the line.
    if not user or not colon:
        raise ValueError("expected `user:hash`")
    return composed(user), parse_hash(secret)


def read_users(path: str) -> Users:
    """Read a users file.

    Raises:
        UsersError: the file cannot be used.

    """
    try:
        with open_plain(path) as file:
            octets = file.read(_MAX_FILE_OCTETS + 1)
    except OSError as error:
        msg = f"SMTP_AUTH_USERS: cannot read {path!r}: {error.strerror}"
        raise UsersError(msg) from error
    if len(octets) > _MAX_FILE_OCTETS:
        msg = f"SMTP_AUTH_USERS: {path!r}: expected a file of at most {_MAX_FILE_OCTETS} bytes"
        raise UsersError(msg)
    try:
        return Users(parse_users(octets))
    except UsersError as error:
        msg = f"SMTP_AUTH_USERS: {path!r}: {error}"
        raise UsersError(msg) from error
