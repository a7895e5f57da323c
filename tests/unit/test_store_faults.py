"""What the durable stores do when the disk fails, is full, or the process is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from prixfixe.mail.message import IdSource
from prixfixe.stores.base import DiskOptions, StoreError, StoreOpenError, StoreOptions
from prixfixe.stores.disk.free_space import DiskSpace
from prixfixe.stores.registry import open_reader, open_store
from prixfixe.stores.sqlite import file as files
from prixfixe.testing.store_contract import make, opened, reading
from tests.conftest import PATIENCE
from tests.durability.disks import remount
from tests.support.store_cases import DURABLE, run, small_disk, url_of


@pytest.fixture(params=DURABLE)
def durable(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, tmp_path)


def stored(url: str) -> list[str]:
    """Return every id, each message having been read whole."""
    with reading(url) as reader:
        ids = list(reader.ids())
        assert all(reader.get(each) is not None for each in ids)
        assert reader.totals().messages == len(ids)
        return ids


# What single system calls do when they fail is for tests/durability, on real servers.

LIMITED = """
import resource, signal
def limit(octets):
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, resource.RLIM_INFINITY))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
s = open_store(url); await s.open()
say('first', await result(s.put(make())))
limit(1)
say('failed', await result(s.put(make())), await result(s.delete(None)))
limit(resource.RLIM_INFINITY)
say('next', await result(s.put(make())))
await s.close()
"""


def test_failed_writes_leave_nothing_and_the_next_message_is_kept(durable):
    lines = run(LIMITED, durable)
    # Maildir can delete where nothing can be written.
    deleted = "kept" if durable.startswith("maildir") else "io"
    assert lines == ["first kept", f"failed io {deleted}", "next kept"]
    assert len(stored(durable)) == (1 if deleted == "kept" else 2)


# --- full, read-only and foreign folders


@pytest.mark.parametrize(
    ("technology", "options"),
    [("sqlite", "size=3m"), ("maildir", "size=3m"), ("maildir", "size=64m,nr_inodes=60")],
)
async def test_full_disk_says_full_and_recovers_by_itself(technology, options, tmp_path):
    with small_disk(tmp_path / "disk", options) as disk:
        url, ids, kept = url_of(technology, disk), IdSource(), []
        async with opened(url) as store:
            error = await _put_until_refused(store, ids, kept)
            assert error.is_full
            assert sorted(stored(url)) == kept
            remount(disk, "size=128m,nr_inodes=9999")
            await _eventually_kept(store, ids)


async def _put_until_refused(store, ids, kept) -> StoreError:
    while True:
        message = make(ids, b"x" * 20_000)
        try:
            await store.put(message)
        except StoreError as error:
            return error
        kept.append(message.id)


async def _eventually_kept(store, ids) -> None:
    """Put until free space is looked at anew, at most a second later."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            return await store.put(make(ids))
        except StoreError:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("technology", DURABLE)
async def test_read_only_disk_is_refused_for_writing_and_read(technology, tmp_path):
    with small_disk(tmp_path / "disk", "size=16m") as disk:
        url, ids = url_of(technology, disk), IdSource()
        async with opened(url) as store:
            await store.put(make(ids))
        remount(disk, "ro")
        with pytest.raises(StoreOpenError, match="read-only file system; mount"):
            await open_store(url).open()
        assert len(stored(url)) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_folder_of_another_user_names_path_user_and_remedy(passable):
    folder, url = passable
    (folder / "mail").mkdir(mode=0o755)
    line = run("become(65534); await open_store(url).open()", url)[0]
    assert line.startswith("refused")
    assert str(folder) in line
    assert "65534" in line
    assert "--user" in line


@pytest.fixture(params=DURABLE)
def passable(request: pytest.FixtureRequest) -> Iterator[tuple[Path, str]]:
    """A folder that every user may pass; each pytest that starts takes its own from all others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder, url_of(request.param, folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_store_in_a_folder_we_may_only_read_is_read(passable):
    folder, url = passable
    async with opened(url) as store:
        await store.put(message := make(IdSource()))
    for path in [folder / "mail", *(folder / "mail").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    wanted = f"become(65534); say(open_reader(url).get('{message.id}').id)"
    assert run(wanted, url) == [message.id]


async def test_a_program_that_has_the_log_for_itself_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BUSY_SECONDS", 0.05)
    path = tmp_path / "mail" / "x.db"
    async with opened(f"sqlite:{path}") as store:
        await store.put(make(IdSource()))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("CREATE TABLE other (x)")
        assert path.with_name("x.db-wal").stat().st_size > 0
        with pytest.raises(StoreOpenError, match="held by another program; end it"):
            open_reader(f"sqlite:{path}")


async def test_path_through_a_file_is_refused(durable, tmp_path):
    (tmp_path / "mail").write_text("not a folder")
    with pytest.raises(StoreOpenError, match="not a directory") as caught:
        await open_store(durable).open()
    assert str(tmp_path) in str(caught.value)


async def test_new_folders_and_files_are_private(durable, tmp_path):
    async with opened(durable) as store:
        await store.put(make(IdSource()))
        for path in [tmp_path / "mail", *(tmp_path / "mail").rglob("*")]:
            assert path.stat().st_mode & 0o077 == 0, path


# --- a slow disk, a dead one


@pytest.fixture
def slow_sync(monkeypatch) -> threading.Event:
    """Hold every fsync of ours until the event is set."""
    released, real = threading.Event(), os.fsync

    def wait(descriptor: int) -> None:
        released.wait(PATIENCE)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", wait)
    yield released
    released.set()


async def test_slow_disk_does_not_hold_the_loop(tmp_path, monkeypatch, request):
    async with opened(url_of("maildir", tmp_path)) as store:
        released = request.getfixturevalue("slow_sync")
        future = store.put(make(IdSource()))
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not future.done()
        released.set()
        await future


async def test_close_gives_up_on_a_dead_disk(tmp_path, monkeypatch, request):
    monkeypatch.setattr("prixfixe.stores.group_commit.CLOSE_SECONDS", 0.05)
    store = open_store(url_of("maildir", tmp_path))
    await store.open()
    released = request.getfixturevalue("slow_sync")
    future = store.put(make(IdSource()))
    await store.close()
    assert not future.done()
    released.set()
    await future


async def test_failed_open_can_be_tried_again(durable, tmp_path):
    (tmp_path / "mail").write_text("in the way")
    store = open_store(durable)
    with pytest.raises(StoreOpenError):
        await store.open()
    (tmp_path / "mail").unlink()
    await store.open()
    await store.put(make(IdSource()))
    await store.close()


class Room:
    """A file system as `statvfs` sees it."""

    f_frsize, f_blocks, f_files, f_favail = 1, 10_000, 0, 0

    def __init__(self, octets: int):
        self.f_bavail = octets


@pytest.fixture
def room(monkeypatch) -> Room:
    room = Room(1000)
    monkeypatch.setattr(os, "statvfs", lambda path: Room(room.f_bavail))
    return room


def test_burst_does_not_run_through_the_reserve_between_two_looks(room, tmp_path):
    space = DiskSpace(tmp_path, 600, lambda _space: None, clock=lambda: 0.0)
    for _ in range(4):
        space.check(100)
        room.f_bavail -= 110
    with pytest.raises(StoreError, match="560 bytes free, 600 wanted"):
        space.check(100)


def test_nobody_is_refused_by_an_old_look(room, tmp_path):
    space = DiskSpace(tmp_path, 600, lambda _space: None, clock=lambda: 0.0)
    room.f_bavail = 500
    with pytest.raises(StoreError):
        space.check()
    room.f_bavail = 700
    assert space.check().free_bytes == 700


def test_what_is_left_is_told_also_when_it_is_too_little(room, tmp_path):
    told = []
    space = DiskSpace(tmp_path, 600, told.append, clock=lambda: 0.0)
    space.check()
    room.f_bavail = 500
    with pytest.raises(StoreError):
        space.check(500)
    assert [one.free_bytes for one in told] == [1000, 500]


async def test_reserve_is_asked_for_at_most_once_a_second(tmp_path, monkeypatch):
    asked, real = [], os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: asked.append(path) or real(path))
    async with opened(url_of("sqlite", tmp_path), StoreOptions(disk=DiskOptions(1))) as store:
        ids = IdSource()
        for _ in range(20):
            await store.put(make(ids))
    assert len(asked) <= 2


def test_reader_of_something_else_is_refused(durable, tmp_path):
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "x.db").write_text("this is a shopping list, not a mail store" * 40)
    with pytest.raises(StoreOpenError):
        open_reader(durable)
