"""`prixfixe serve` with one promise broken on purpose, named by FAULT; the suite must notice.

Each fault is the smallest change that a hurried hand might make. Two break nothing and only bring
a thing within reach: `small-log` folds SQLite's log often, `frozen` stops the clock and repeats the
random numbers.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from prixfixe.cli.main import main
from prixfixe.connection import delivery
from prixfixe.mail import message
from prixfixe.server import app
from prixfixe.smtp import replies
from prixfixe.stores import group_commit as writer
from prixfixe.stores.base import StoreError
from prixfixe.stores.disk import folder
from prixfixe.stores.maildir import store as maildir
from prixfixe.stores.sqlite import file as sqlite_file
from prixfixe.stores.sqlite import place as sqlite_place
from prixfixe.stores.sqlite import store as sqlite

FAULTS: dict[str, Callable[[], None]] = {}


def fault(breaks: Callable[[], None]) -> Callable[[], None]:
    """Register a fault by its name."""
    FAULTS[breaks.__name__.strip("_").replace("_", "-")] = breaks
    return breaks


@fault
def early() -> None:
    """Answer before the commit, which waits its turn."""
    put = writer.GroupStore.put

    def answer(self: Any, message: Any) -> asyncio.Future[None]:
        asyncio.get_running_loop().call_later(0.05, put, self, message)
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    writer.GroupStore.put = answer  # type: ignore[method-assign]


@fault
def synchronous_off() -> None:
    """Leave SQLite's syncs out."""
    sqlite_file._SETTINGS = tuple(
        each.replace("synchronous=FULL", "synchronous=OFF") for each in sqlite_file._SETTINGS
    )


@fault
def synchronous_normal() -> None:
    """Sync SQLite's log at checkpoints only, its default with WAL in many programs."""
    sqlite_file._SETTINGS = tuple(
        each.replace("synchronous=FULL", "synchronous=NORMAL") for each in sqlite_file._SETTINGS
    )


@fault
def no_folder_sync() -> None:
    """Leave the new name to chance."""
    maildir.sync_folder = lambda folder: None


@fault
def no_file_sync() -> None:
    """Sync the name and not the content."""
    maildir.os = _Os(fsync=lambda descriptor: None)


@fault
def in_place() -> None:
    """Write where readers look."""
    begin = maildir._Maildir.open

    def without_tmp(self: Any) -> Any:
        recovery = begin(self)
        self._tmp = self._new
        return recovery

    maildir._Maildir.open = without_tmp


class _Os:
    """The `os` module with some functions replaced."""

    def __init__(self, **replaced: Any) -> None:
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


@fault
def retry() -> None:
    """Try a failed commit again and believe it."""
    for backend in (maildir._Maildir, sqlite._Database):
        backend.commit = _twice(backend.commit)


def _twice(commit: Callable[..., None]) -> Callable[..., None]:
    def again(*args: Any) -> None:
        try:
            commit(*args)
        except StoreError:
            commit(*args)

    return again


@fault
def twice() -> None:
    """Keep each message two times, as a retry of one's own may."""
    put = writer.GroupStore.put

    def doubled(self: Any, message: Any) -> asyncio.Future[None]:
        put(self, message._replace(id=message.id + "x"))
        return put(self, message)

    writer.GroupStore.put = doubled  # type: ignore[method-assign]


@fault
def keep_failed() -> None:
    """Leave the files of a failed group where they are."""
    maildir._Maildir._take_back = lambda self, files: None


@fault
def leak() -> None:
    """Forget to close what failed."""
    real = maildir._Maildir._take_back

    def leaking(self: Any, files: Any) -> None:
        real(self, files)
        os.open(self._root, os.O_RDONLY)

    maildir._Maildir._take_back = leaking


@fault
def stay_broken() -> None:
    """Never take mail again after one failure."""
    for backend in (maildir._Maildir, sqlite._Database):
        backend.commit = _once_failed_always_failed(backend.commit)


def _once_failed_always_failed(commit: Callable[..., None]) -> Callable[..., None]:
    failed: list[StoreError] = []

    def stubborn(*args: Any) -> None:
        if failed:
            raise failed[0]
        try:
            commit(*args)
        except StoreError as error:
            failed.append(error)
            raise

    return stubborn


@fault
def permanent() -> None:
    """Answer a full disk with a bounce."""
    delivery._reply_for = lambda error: (replies.TOO_BIG, "size")


@fault
def first_only() -> None:
    """Tell only the first of a failed group."""
    resolve = writer.GroupStore._resolve

    def some(self: Any, answers: Any) -> None:
        resolve(self, answers[:1] + [(future, result, None) for future, result, _ in answers[1:]])

    writer.GroupStore._resolve = some  # type: ignore[method-assign]


@fault
def on_the_loop() -> None:
    """Wait on the event loop until the message is committed."""
    put = writer.GroupStore.put

    def block(self: Any, message: Any) -> asyncio.Future[None]:
        future, done = put(self, message), threading.Event()
        self._ask("wait", done.set)  # served after the put before it
        done.wait(60)
        return future

    writer.GroupStore.put = block  # type: ignore[method-assign]


@fault
def overwrite() -> None:
    """Write over a file of the same name; replace a row of the same id."""
    frozen()

    def create(self: Any, message: Any) -> Any:
        name = maildir.make_name(message, self._host)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        return maildir._File(os.open(self._tmp / name, flags, 0o600), name)

    maildir._Maildir._create = create
    insert = sqlite._Database._insert

    def replace(self: Any, rows: Any) -> None:
        self._remove_some([each.id for each in rows])
        insert(self, rows)

    sqlite._Database._insert = replace


@fault
def unlocked() -> None:
    """Let a second server in."""
    folder.FolderLock.take = lambda self, store: None  # type: ignore[method-assign]


@fault
def unlooked() -> None:
    """Believe that the files are where they were."""
    sqlite._Database._confirm = lambda self, fault=None: None
    maildir._Maildir._confirm = lambda self: None


@fault
def unread() -> None:
    """Look at the names of the files, and not into the log."""
    sqlite_place.Place._is_whole = lambda self, index: True


@fault
def abrupt() -> None:
    """Take SIGTERM for SIGKILL."""

    async def stop(self: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    app.Server.stop = stop  # type: ignore[method-assign]


@fault
def unreplicated() -> None:
    """Commit on the primary's disk, and wait for no standby."""
    from prixfixe.stores.postgresql import cluster, store

    make = cluster.Cluster.__init__

    def with_local(self: Any, *given: Any) -> None:
        make(self, *given)
        self._settings["synchronous_commit"] = "local"

    cluster.Cluster.__init__ = with_local  # type: ignore[method-assign]
    cluster.Facts.fault = lambda self, quorum: ""  # type: ignore[method-assign]
    for name in ("FIRST", "AGAIN"):
        statement = getattr(store, name).replace("IN ('on', 'remote_apply')", "<> 'off'")
        setattr(store, name, statement.replace(">= $7::int", ">= 0 * $7::int"))


@fault
def frozen() -> None:
    """Stop the clock and repeat the random numbers, as a restored machine might."""

    class Frozen(message.IdSource):
        def __init__(self) -> None:
            super().__init__(lambda: 1_700_000_000.0, bytes)

    app.IdSource = Frozen  # type: ignore[misc]


@fault
def small_log() -> None:
    """Fold SQLite's log after a few messages, to have it in a short trace."""
    sqlite.CHECKPOINT_BYTES = 100_000


@fault
def small_log_off() -> None:
    """As small-log, with SQLite's syncs left out."""
    small_log()
    synchronous_off()


def run() -> int:
    """Serve with the fault in place."""
    FAULTS[os.environ["FAULT"]]()
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(run())
