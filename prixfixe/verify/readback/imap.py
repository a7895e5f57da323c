"""IMAP: one mailbox of one user, read without marking anything."""

from __future__ import annotations

import contextlib
import imaplib
import re
from typing import TYPE_CHECKING

from prixfixe.verify.dialogue.servers import UnseenError
from prixfixe.verify.readback.base import Readback
from prixfixe.verify.readback.delivered import grouped

if TYPE_CHECKING:
    from collections.abc import Container

    from prixfixe.verify.dialogue.servers import Stored
    from prixfixe.verify.readback.base import Place

__all__ = ["Imap"]

SECONDS = 20.0
AT_ONCE = 100  # messages of one answer
_UID = re.compile(rb"\bUID (\d+)")


class Imap(Readback):
    """The folder `folder` (INBOX) at `port` (143), as `user` with `password`."""

    is_at_once = False
    knows_order = False

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._imap: imaplib.IMAP4 | None = None
        self._seen: dict[bytes, bytes] = {}  # each message is read once
        self._old: set[bytes] = set()

    def _connected(self) -> imaplib.IMAP4:
        if self._imap is None:
            options = self.place.options
            host, port = self.place.machine.address(int(options.get("port", 143)))
            self._imap = imaplib.IMAP4(host, port, timeout=SECONDS)
            self._imap.login(str(options.get("user", "")), str(options.get("password", "")))
        return self._imap

    def _names(self) -> list[bytes]:
        """Return the ids of what is there now; a connection that ended is made again once."""
        for is_last in (False, True):
            try:
                imap = self._connected()
                imap.select(str(self.place.options.get("folder", "INBOX")), readonly=True)
                found: list[bytes] = (imap.uid("search", "ALL")[1][0] or b"").split()
            except (OSError, imaplib.IMAP4.error) as error:
                self.close()
                if is_last:
                    msg = f"IMAP cannot be read: {error}"
                    raise UnseenError(msg) from error
            else:
                return found
        raise AssertionError  # pragma: no cover

    def _fetched(self, but: Container[bytes] = ()) -> dict[bytes, bytes]:
        names = [name for name in self._names() if name not in but]
        new = [name for name in names if name not in self._seen]
        try:
            for at in range(0, len(new), AT_ONCE):
                some = b",".join(new[at : at + AT_ONCE]).decode()
                answer = self._connected().uid("fetch", some, "(UID BODY.PEEK[])")
                self._seen |= _octets(answer)
        except (OSError, imaplib.IMAP4.error) as error:
            self.close()
            msg = f"IMAP cannot be read: {error}"
            raise UnseenError(msg) from error
        return {name: self._seen[name] for name in names if name in self._seen}

    def clear(self) -> None:
        self._old = set(self._names())

    def read(self) -> list[Stored]:
        return grouped(self._fetched().values())

    def messages(self) -> list[Stored]:
        return grouped(self._fetched(self._old).values())

    def close(self) -> None:
        if self._imap is not None:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                self._imap.logout()
        self._imap = None


def _octets(answer: tuple[str, list[object]]) -> dict[bytes, bytes]:
    """Return the messages of an answer to FETCH by their ids."""
    found = {}
    for one in answer[1]:
        if isinstance(one, tuple) and (name := _UID.search(one[0])):
            found[name[1]] = bytes(one[1])
    return found
