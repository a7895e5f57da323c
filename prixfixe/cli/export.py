"""`prixfixe export`: copy every message out as eml, mbox (mboxrd) or maildir, oldest first.

No existing file is overwritten. A damaged message, or one whose id or envelope would write outside
its place, is named; the rest is exported, and the exit code is 1.
"""

from __future__ import annotations

import re
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prixfixe.cli.environment import Failure, store_reader
from prixfixe.cli.messages import Reading
from prixfixe.mail.message import is_id, render, trace_headers

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from prixfixe.mail.message import Message

    Write = Callable[[Message], object]

__all__ = ["export"]

_FROM = re.compile(rb"^(>*From )", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LAST_SECOND = 253402300799  # of the year 9999


def export(args: argparse.Namespace) -> int:
    """Export every message; return 1 if one could not be exported."""
    is_mail = args.path == "-"  # `./-` is a file
    if is_mail and args.format != "mbox":
        msg = f"{args.format} is a folder: only --format mbox goes to standard output"
        raise Failure(2, msg)
    path = Path(args.path)
    count = 0
    writer = _standard_output if is_mail else _WRITERS[args.format]
    with store_reader() as reader, writer(path) as write:
        messages = Reading(reader, reversed(reader.ids()))
        for message in messages:
            fault = _fault(message)
            if fault:
                messages.name_damaged(f"message {message.id!a} {fault}")
                continue
            write(message)
            count += 1
    where = "standard output" if is_mail else path
    print(f"{count} messages exported to {where}", file=sys.stderr if is_mail else sys.stdout)
    return 1 if messages.damaged else 0


def _fault(message: Message) -> str:
    """Return why a message cannot be exported, or "": a store may come from anybody.

    The id becomes a file name, and the envelope becomes header lines.
    """
    if not is_id(message.id):
        return "has an id that is no name for a file"
    if not 0 <= message.received_at <= _LAST_SECOND:
        return f"was received at {message.received_at!a}, which is no time"
    try:
        head = trace_headers(message).decode()
    except UnicodeError:
        return "has an envelope that is not Unicode"
    lines = head.removesuffix("\r\n").replace("\r\n\t", "").split("\r\n")
    if len(lines) != 2 or _CONTROL.search("".join(lines)):
        return "has an envelope with line ends or control characters"
    return ""


@contextmanager
def _eml(path: Path) -> Iterator[Write]:
    _make_folder(path)
    yield lambda message: _write(path / f"{message.id}.eml", message)


@contextmanager
def _maildir(path: Path) -> Iterator[Write]:
    _make_folder(path)
    for folder in ("cur", "new", "tmp"):
        (path / folder).mkdir()

    def write(message: Message) -> None:
        _write(path / "new" / f"{int(message.received_at)}.{message.id}.export", message)

    yield write


def _make_folder(path: Path) -> None:
    """Make the folder, or use an empty one, such as a fresh mount of a container."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        is_empty = not any(path.iterdir())
    except OSError as error:
        msg = f"{path}: {error.strerror}; expected a new or an empty folder"
        raise Failure(1, msg) from None
    if not is_empty:
        msg = f"{path}: not empty; expected a new or an empty folder"
        raise Failure(1, msg)


def _write(path: Path, message: Message) -> None:
    with path.open("xb") as file:
        file.write(render(message))


@contextmanager
def _mbox(path: Path) -> Iterator[Write]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mbox = path.open("xb")
    except OSError as error:
        msg = f"{path}: {error.strerror}; expected the name of a new file, or -"
        raise Failure(1, msg) from None
    with mbox:
        yield lambda message: mbox.write(_as_mboxrd(message))


@contextmanager
def _standard_output(_path: Path) -> Iterator[Write]:
    yield lambda message: sys.stdout.buffer.write(_as_mboxrd(message))


def _as_mboxrd(message: Message) -> bytes:
    sender = re.sub(r"\s", "-", message.envelope.sender) or "MAILER-DAEMON"
    date = time.asctime(time.gmtime(message.received_at))
    text = _FROM.sub(rb">\1", render(message).replace(b"\r\n", b"\n"))
    end = b"" if text.endswith(b"\n") else b"\n"
    return f"From {sender} {date}\n".encode() + text + end + b"\n"


_WRITERS = {"eml": _eml, "mbox": _mbox, "maildir": _maildir}
