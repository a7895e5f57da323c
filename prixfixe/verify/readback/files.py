"""Mailboxes as files: a Maildir, or an mbox file, of one or several mailboxes below a folder.

Files are read through the target, so that neither a shell in the image nor rights here are needed,
and after the server's end too. What `clear` forgets is remembered by name or by offset.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from prixfixe.verify.readback.base import Readback
from prixfixe.verify.readback.delivered import grouped
from prixfixe.verify.targets.base import stem

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.servers import Stored
    from prixfixe.verify.readback.base import Place

__all__ = ["Maildir", "Mbox"]

_FROM = re.compile(rb"^From [^\n]*\n", re.MULTILINE)
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)


class Files(Readback):
    """Deliveries as files, found below `path`."""

    is_at_once = False
    knows_order = False
    outlives = True

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.path = str(place.options.get("path", "/var/mail"))
        self._old: set[str] = set()

    def deliveries(self) -> dict[str, bytes]:
        """Return every delivery by a name that does not change."""
        raise NotImplementedError

    def clear(self) -> None:
        self._old = set(self.deliveries())

    def read(self) -> list[Stored]:
        return grouped(self.deliveries().values())

    def messages(self) -> list[Stored]:
        found = self.deliveries()
        return grouped(octets for name, octets in found.items() if name not in self._old)


class Maildir(Files):
    """Every file in a `new` or `cur` below `path`, in the order of their names."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._read: dict[str, bytes] = {}  # each file is read once

    def deliveries(self) -> dict[str, bytes]:
        found = self.place.machine.files(self.path, self._read)
        mails = {
            stem(name): octets
            for name, octets in found.items()
            if PurePosixPath(name).parent.name in ("new", "cur")
        }
        self._read |= {name: octets for name, octets in mails.items() if octets is not None}
        return {name: self._read[name] for name in sorted(mails)}


class Mbox(Files):
    """Every file at or below `path`, each an mbox."""

    def deliveries(self) -> dict[str, bytes]:
        found = {}
        for name, octets in self.place.machine.files(self.path).items():
            whole = octets or b""
            starts = [one.span() for one in _FROM.finditer(whole)]
            ends = [one[0] for one in starts[1:]] + [len(whole)]
            for (_, start), end in zip(starts, ends, strict=True):
                mail = whole[start:end].removesuffix(b"\n")  # the line between two
                found[f"{name}:{start}"] = _QUOTED.sub(rb"\1", mail)
        return found
