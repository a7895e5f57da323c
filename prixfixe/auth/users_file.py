"""The users of SMTP_AUTH_USERS: reading the file, and finding what is stored of one.

Owns: `user:hash` lines, and what is known of the users of one reading.
Promises: a name is the same however its letters are composed; for a user that does not exist
something is found too, which costs as much and stays the same; no repr or message holds a secret.
Refuses: judging a login (see `auth`).
"""

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
    """The users of one reading of the file; those of the next take their place as a whole.

    So what a login learns while the file is read again is learnt of these, not of the next.
    """

    def __init__(self, hashes: dict[str, PasswordHash]) -> None:
        self._hashes = hashes
        keys = [each for each in hashes.values() if isinstance(each, Keys)]
        self.has_scram = 0 < len(keys) == len(hashes)
        self._decoys = Decoys(keys)
        self.verified: dict[str, bytes] = {}  # user -> a digest of the password that was right

    def find(self, user: str) -> PasswordHash | None:
        """Return what is stored of a user."""
        return self._hashes.get(composed(user))

    def hash_to_check(self, user: str) -> PasswordHash:
        """Return the user's hash; for an unknown one some other's, so that it costs the same."""
        secret = self.find(user)
        if secret is None:
            # Python's hash is keyed, so nobody can tell whose it is, and it stays the same one.
            secret = list(self._hashes.values())[hash(user) % len(self._hashes)]
        return secret

    def keys(self, user: str) -> Keys:
        """Return the user's keys; for one without, some that no proof fits."""
        known, decoy = self.find(user), self._decoys.keys(composed(user))
        return known if isinstance(known, Keys) else decoy


def parse_users(octets: bytes) -> dict[str, PasswordHash]:
    """Read `user:hash` lines; blank lines, those that begin with `#` and a BOM are skipped.

    Raises:
        UsersError: a line is bad or names a user twice, or there is no user; it tells the line.

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
        raise ValueError("expected UTF-8") from None  # Its text would show the line.
    if not user or not colon:
        raise ValueError("expected `user:hash`")
    return composed(user), parse_hash(secret)


def read_users(path: str) -> Users:
    """Read a users file.

    Raises:
        UsersError: it cannot be used.

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
