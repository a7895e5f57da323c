"""IMAP: one mailbox of one user, read without marking anything."""

from __future__ import annotations

import imaplib
from typing import TYPE_CHECKING

from prixfixe.verify.dialogue.servers import UnseenError
from prixfixe.verify.readback.base import Readback
from prixfixe.verify.readback.delivered import grouped

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.servers import Stored
    from prixfixe.verify.readback.base import Place

__all__ = ["Imap"]

SECONDS = 20.0


class Imap(Readback):
    """The folder `folder` (INBOX) at `port` (143), as `user` with `password`."""

    is_at_once = False
    knows_order = False

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._seen: dict[bytes, bytes] = {}
        self._old: set[bytes] = set()

    def _fetched(self) -> dict[bytes, bytes]:
        options = self.place.options
        host, port = self.place.machine.address(int(options.get("port", 143)))
        try:
            with imaplib.IMAP4(host, port, timeout=SECONDS) as imap:
                imap.login(str(options.get("user", "")), str(options.get("password", "")))
                imap.select(str(options.get("folder", "INBOX")), readonly=True)
                names = imap.uid("search", "ALL")[1][0].split()
                for name in names:
                    if name not in self._seen:
                        self._seen[name] = _octets(
                            imap.uid("fetch", name.decode(), "(BODY.PEEK[])")
                        )
                return {name: self._seen[name] for name in names}
        except (OSError, imaplib.IMAP4.error) as error:
            msg = f"IMAP cannot be read: {error}"
            raise UnseenError(msg) from error

    def clear(self) -> None:
        self._old = set(self._fetched())

    def read(self) -> list[Stored]:
        return grouped(self._fetched().values())

    def messages(self) -> list[Stored]:
        return grouped(octets for name, octets in self._fetched().items() if name not in self._old)


def _octets(answer: tuple[str, list[object]]) -> bytes:
    for one in answer[1]:
        if isinstance(one, tuple):
            return bytes(one[1])
    raise UnseenError("IMAP gave no message")
