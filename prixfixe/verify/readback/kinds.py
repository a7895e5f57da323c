"""Where adapters come from.

Another package adds one by an entry point of the group `prixfixe.readback`: its name is the `kind`
of a contract, and its object is a function from `Place` to `Readback`.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from prixfixe.verify.readback import base, command, files, imap, maildev, mailpit, sink

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

__all__ = ["adapters"]

GROUP = "prixfixe.readback"


def adapters() -> dict[str, Callable[[base.Place], base.Readback]]:
    """Return every adapter by its kind: those of this package, and those of entry points."""
    known: dict[str, Callable[[base.Place], base.Readback]] = {
        "command": command.Command,
        "imap": imap.Imap,
        "maildev": maildev.MailDev,
        "maildir": files.Maildir,
        "mailpit": mailpit.Mailpit,
        "mbox": files.Mbox,
        "none": base.Nothing,
        "sink": sink.Sink,
    }
    return {one.name: _loaded(one) for one in entry_points(group=GROUP)} | known


def _loaded(one: EntryPoint) -> Callable[[base.Place], base.Readback]:
    """Return an adapter that is imported when it is first used: a broken one disturbs no other."""

    def adapter(place: base.Place) -> base.Readback:
        made: base.Readback = one.load()(place)
        return made

    return adapter
