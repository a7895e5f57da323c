"""Keep messages in a Maildir, for those who read mail with other tools (cr.yp.to/proto/maildir.html).

Owns: the form of a file, the order of system calls, the sweep at start.
Promises: a file is written under `tmp/`, fsynced, renamed into `new/`, and `new/` is fsynced once
for a batch, before any of its futures resolves; when anything fails, what the batch had already
renamed is taken back; a message that a reader moves to `cur/` or deletes is found or gone.
Refuses: a second writing process (by lock), and touching files it did not write.

A file is `Return-Path`, `Received`, then `X-PrixFixe-Envelope` (JSON with envelope, id, time, size
and checksum, folded), then the body octet for octet. One file, one rename: envelope and body
cannot part.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from prixfixe.message import Envelope, Message, trace_headers
from prixfixe.stores.base import CorruptMessageError, Recovery, StoreError, StoreOpenError, Totals
from prixfixe.stores.disk import FreeSpace, Lock, fsync_folder, make_folder, store_error
from prixfixe.stores.writer import GroupWriter

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator, Sequence

    from prixfixe.stores import StoreOptions
    from prixfixe.stores.base import Probe

__all__ = ["MaildirReader", "MaildirStore"]

_FIELD = b"X-PrixFixe-Envelope: "
_FOLD = 900  # octets a line: below the 998 of RFC 5322 2.1.1
_NAME = re.compile(r"(\d+)\.([A-Za-z0-9_-]{1,64})\.[^:]*(?::2,[A-Za-z]*)?")


def to_file(message: Message) -> bytes:
    """Return the content of a message's file."""
    record = {
        "id": message.id,
        "received_at": message.received_at,
        "size": len(message.body),
        "crc": zlib.crc32(message.body),
        "envelope": message.envelope.to_json(),
    }
    text = json.dumps(record, separators=(",", ":")).encode("ascii")
    folded = b"\r\n ".join(text[at : at + _FOLD] for at in range(0, len(text), _FOLD))
    return b"".join((trace_headers(message), _FIELD, folded, b"\r\n", message.body))


def from_file(content: bytes) -> Message:
    """Return the message a file holds.

    Raises:
        ValueError: the file is not one of ours, or not whole.

    """
    start = content.find(b"\r\n" + _FIELD)
    if start < 0:
        raise ValueError("no envelope field")
    start += 2 + len(_FIELD)
    end = start
    while True:
        end = content.index(b"\r\n", end)
        if content[end + 2 : end + 3] != b" " or content[start : start + 1] != b"{":
            break
        if content[end - 1 : end] == b"}" and _is_whole(content[start:end]):
            break
        end += 2
    record = json.loads(content[start:end].replace(b"\r\n ", b""))
    body = content[end + 2 :]
    if len(body) != record["size"] or zlib.crc32(body) != record["crc"]:
        raise ValueError("checksum differs")
    envelope = Envelope.from_json(record["envelope"])
    return Message(record["id"], record["received_at"], envelope, body)


def _is_whole(folded: bytes) -> bool:
    """Whether folded text is a whole record; what follows is then a body that begins with a blank."""
    try:
        json.loads(folded.replace(b"\r\n ", b""))
    except ValueError:
        return False
    return True


class MaildirStore:
    """The write side of a Maildir."""

    def __init__(self, path: str, options: StoreOptions) -> None:
        self._path = Path(path)
        self._options = options
        self._lock = Lock(self._path / ".prixfixe.lock")
        self._space = FreeSpace(self._path, options.min_free, options.clock)
        self._host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64] or "localhost"
        self._names: list[str] | None = None  # oldest first; kept only when there is a limit
        self._writer: GroupWriter | None = None

    def reader(self) -> MaildirReader:
        """Return the read side."""
        return MaildirReader(str(self._path))

    async def open(self) -> Recovery:
        """Create the folders, take the lock, and sweep what a crash left in `tmp/`."""
        make_folder(self._path)
        for folder in ("tmp", "new", "cur"):
            make_folder(self._path / folder)
        self._lock.acquire()
        self._writer = GroupWriter(self._commit, self._options.on_operation)
        return await self._writer.run(self._sweep)

    def put(self, message: Message) -> asyncio.Future[None]:
        """Queue one message for the next batch."""
        return self._running().put(message)

    async def delete(self, ids: Sequence[str] | None) -> int:
        """Delete these messages, or all of them for None; return how many were there."""
        return await self._running().run(lambda: self._delete(ids))

    async def probe(self) -> Probe:
        """Prove that a file can be written and fsynced now, and apply retention by age."""
        return await self._running().run(self._probe)

    async def close(self) -> None:
        """Finish what was put and let go of the lock."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await writer.close()
        self._lock.release()

    def _running(self) -> GroupWriter:
        if self._writer is None:
            raise StoreError("the store is closed", kind="closed")
        return self._writer

    # --- in the writer's thread

    def _sweep(self) -> Recovery:
        """Remove files of ours under `tmp/`: their messages were never acknowledged."""
        stale = [path for path in (self._path / "tmp").iterdir() if _NAME.fullmatch(path.name)]
        for path in stale:
            path.unlink(missing_ok=True)
        if self._options.max_messages or self._options.max_age:
            self._names = [path.name for path in _files(self._path)]
        return Recovery(discarded_partial=len(stale))

    def _commit(self, messages: Sequence[Message]) -> Sequence[StoreError | None]:
        self._space.check()
        done: list[Path] = []
        try:
            outcome = [self._deliver(message, done) for message in messages]
            fsync_folder(self._path / "new")
        except OSError as error:
            self._take_back(done)
            raise store_error(error) from error
        if self._names is not None:
            self._names.extend(path.name for path in done)
            self._prune()
        return outcome

    def _deliver(self, message: Message, done: list[Path]) -> StoreError | None:
        """Write one file and rename it, noting its present place in `done`."""
        name = f"{int(message.received_at)}.{message.id}.{self._host}"
        target = self._path / "new" / name
        if target.exists():
            return StoreError("this id is taken", kind="conflict")
        temporary = self._path / "tmp" / name
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        done.append(temporary)
        try:
            _write_all(descriptor, to_file(message))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(target)
        done[-1] = target
        return None

    def _take_back(self, paths: Sequence[Path]) -> None:
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            fsync_folder(self._path / "new")

    def _prune(self) -> None:
        options, names = self._options, self._names or []
        oldest_kept = options.clock() - options.max_age if options.max_age else 0.0
        excess = len(names) - options.max_messages if options.max_messages else 0
        count = 0
        while count < len(names) and (
            count < excess or int(names[count].partition(".")[0]) + 1 < oldest_kept
        ):
            count += 1
        if count:
            self._unlink([_NAME.fullmatch(name) for name in names[:count]])
            del names[:count]
            options.on_pruned(count)

    def _unlink(self, matches: Sequence[re.Match[str] | None]) -> int:
        doomed = {match.group(2) for match in matches if match}
        return self._delete(sorted(doomed)) if doomed else 0

    def _delete(self, ids: Sequence[str] | None) -> int:
        wanted = None if ids is None else set(ids)
        count = 0
        try:
            for path in _files(self._path):
                match = _NAME.fullmatch(path.name)
                if match and (wanted is None or match.group(2) in wanted):
                    path.unlink(missing_ok=True)
                    count += 1
            for folder in ("new", "cur"):
                fsync_folder(self._path / folder)
        except OSError as error:
            raise store_error(error) from error
        return count

    def _probe(self) -> Probe:
        found = self._space.look()
        path = self._path / "tmp" / "probe"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _write_all(descriptor, b"probe\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
                path.unlink()
        except OSError as error:
            raise store_error(error) from error
        if self._names is not None:
            self._prune()
        return found


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _files(path: Path) -> list[Path]:
    """Return the files of messages in `new/` and `cur/`, oldest first."""
    found = [
        Path(entry.path)
        for folder in ("new", "cur")
        for entry in _scan(path / folder)
        if _NAME.fullmatch(entry.name)
    ]
    return sorted(found, key=lambda file: file.name.split(".")[1])


def _scan(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from entries


class MaildirReader:
    """The read side: stateless, the folders are the truth."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        if not (self._path / "new").is_dir():
            msg = f"store {path}: not a Maildir; has a server with this SMTP_STORE run yet?"
            raise StoreOpenError(msg)

    def ids(self, start: int = 0, limit: int | None = None) -> Sequence[str]:
        """Return ids, newest first."""
        names = [path.name.split(".")[1] for path in reversed(_files(self._path))]
        return names[start:] if limit is None else names[start : start + limit]

    def get(self, message_id: str) -> Message | None:
        """Return the message, or None when there is none of that id.

        Raises:
            CorruptMessageError: the file is not what was written.

        """
        for path in _files(self._path):
            if path.name.split(".")[1] == message_id:
                try:
                    return from_file(path.read_bytes())
                except FileNotFoundError:
                    continue
                except (ValueError, KeyError) as error:
                    raise CorruptMessageError(message_id) from error
        return None

    def totals(self) -> Totals:
        """Return the counts of what is kept now; octets are those of the files."""
        sizes = []
        for path in _files(self._path):
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return Totals(len(sizes), sum(sizes))

    def close(self) -> None:
        """Have nothing to release."""
