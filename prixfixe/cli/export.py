"""`prixfixe export`: copy every message out, oldest first.

Owns: the forms eml (a folder of ID.eml), mbox (mboxrd) and maildir.
Promises: nothing that exists is overwritten; each file is the message as `show` prints it (mbox
quotes `From ` lines, reversibly, and ends lines with LF, as its format demands).
Refuses: damaged messages: they are named, the rest is copied, the exit code is 1.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from prixfixe.cli.environment import fail, store_reader
from prixfixe.message import render
from prixfixe.stores.base import DamagedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from prixfixe.message import Message
    from prixfixe.stores.base import Reader

__all__ = ["run"]

_FROM = re.compile(rb"^(>*From )", re.MULTILINE)


def run(args: argparse.Namespace) -> int:
    """Export."""
    path = Path(args.path)
    try:
        write = _WRITERS[args.format](path)
    except OSError as error:
        raise fail(
            1, f"{path}: {error.strerror}; expected a path that does not exist yet"
        ) from None
    count = damaged = 0
    with store_reader() as reader:
        for message in _messages(reader):
            if message is None:
                damaged += 1
            else:
                write(message)
                count += 1
    print(f"{count} messages exported to {path}")
    return 1 if damaged else 0


def _messages(reader: Reader) -> Iterator[Message | None]:
    """Yield messages, oldest first; None in the place of a damaged one, after naming it."""
    for message_id in reversed(reader.ids()):
        try:
            message = reader.get(message_id)
        except DamagedError as error:
            fail(1, error)
            yield None
            continue
        if message is not None:  # None: deleted since it was listed.
            yield message


def _eml(path: Path) -> Callable[[Message], None]:
    path.mkdir(parents=True)

    def write(message: Message) -> None:
        (path / f"{message.id}.eml").write_bytes(render(message))

    return write


def _maildir(path: Path) -> Callable[[Message], None]:
    path.mkdir(parents=True)
    for folder in ("cur", "new", "tmp"):
        (path / folder).mkdir()

    def write(message: Message) -> None:
        name = f"{int(message.received_at)}.{message.id}.export"
        (path / "new" / name).write_bytes(render(message))

    return write


def _mbox(path: Path) -> Callable[[Message], None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(exist_ok=False)

    def write(message: Message) -> None:
        sender = message.envelope.sender.replace(" ", "-") or "MAILER-DAEMON"
        date = time.asctime(time.gmtime(message.received_at))
        text = _FROM.sub(rb">\1", render(message).replace(b"\r\n", b"\n"))
        end = b"" if text.endswith(b"\n") else b"\n"
        with path.open("ab") as mbox:
            mbox.write(f"From {sender} {date}\n".encode() + text + end + b"\n")

    return write


_WRITERS = {"eml": _eml, "mbox": _mbox, "maildir": _maildir}
