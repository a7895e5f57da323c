"""What the durable stores do when the disk fails, is full, or the process is killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from store_support import (
    DURABLE,
    make,
    needs_strace,
    opened,
    program,
    reading,
    remount,
    run,
    small_disk,
    url_of,
)

from prixfixe.message import IdSource
from prixfixe.stores import StoreOptions, open_reader, open_store
from prixfixe.stores.base import StoreError, StoreOpenError


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


def mail_files(url: str) -> set[str]:
    """Return the files under a store, without those that any store has."""
    root = Path(url.partition(":")[2])
    folder = root if root.is_dir() else root.parent
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


KILLED = "s = open_store(url); await s.open()\nwhile True:\n m = make(); await s.put(m); say(m.id)"


@pytest.mark.parametrize("acknowledged", [1, 40])
def test_sigkill_loses_nothing_acknowledged(durable, acknowledged):
    with subprocess.Popen([*program(KILLED), durable], stdout=subprocess.PIPE, text=True) as child:
        acked = [child.stdout.readline().strip() for _ in range(acknowledged)]
        child.send_signal(signal.SIGKILL)
        acked += child.stdout.read().split()
    recovery = asyncio.run(_open_and_close(durable))
    kept = stored(durable)
    assert set(acked) <= set(kept)
    assert len(kept) <= len(acked) + 1
    assert recovery.quarantined == 0
    if durable.startswith("sqlite"):
        assert recovery.complete == len(kept)


async def _open_and_close(url: str):
    store = open_store(url)
    recovery = await store.open()
    await store.close()
    return recovery


# --- errors of single system calls, by strace, so that SQLite's own calls are hit too

GROUPS = """
s = open_store(url); await s.open()
say('first', await result(s.put(make())))
os.path.exists('/now')
bad = [make() for _ in range(8)]
say('bad', *await asyncio.gather(*[result(s.put(m)) for m in bad]))
os.path.exists('/done')
say('next', await result(s.put(make())))
r = open_reader(url)
say('visible', sum(r.get(m.id) is not None for m in bad), r.totals().messages)
await s.close()
say('after', open_reader(url).totals().messages)
"""


def count_calls(url: str, call: str, tmp_path: Path) -> int:
    """Return how many such calls come before the group that shall fail."""
    trace = tmp_path / "trace"
    run(GROUPS, url, before=("strace", "-f", "-o", str(trace), "-e", f"trace={call},%%stat"))
    before = trace.read_text().partition('"/now"')[0]
    return len(re.findall(rf"\b{call}\(", before))


@pytest.mark.parametrize(("error", "kind"), [("EIO", "io"), ("ENOSPC", "full"), ("EDQUOT", "full")])
@pytest.mark.parametrize(
    ("technology", "call"),
    [("sqlite", "fdatasync"), ("sqlite", "pwrite64"), ("maildir", "fsync"), ("maildir", "rename")],
)
def test_failed_group_fails_whole_and_the_next_is_kept(technology, call, error, kind, tmp_path):
    needs_strace()
    calls = count_calls(url_of(technology, tmp_path / "count"), call, tmp_path)
    url = url_of(technology, tmp_path / "fail")
    inject = f"inject={call}:error={error}:when={calls + 1}"
    lines = run(GROUPS, url, before=("strace", "-f", "-o", "/dev/null", "-e", inject))
    # SQLite keeps the system's errno to itself; the fault is gone when the folder is asked.
    kinds = {"io", "full"} if technology == "sqlite" else {kind}
    assert lines[0] == "first kept"
    results = lines[1].split()[1:]
    failed = [each for each in results if each != "kept"]
    assert failed
    assert set(failed) <= kinds
    assert lines[2] == "next kept"
    visible = 8 - len(failed)
    assert lines[3:] == [f"visible {visible} {visible + 2}", f"after {visible + 2}"]
    assert len(stored(url)) == visible + 2
    residue = {name for name in mail_files(url) if name.startswith("tmp")}
    assert residue == set()


def sync_order(trace: str) -> list[str]:
    """Return write, sync, rename and folder sync of a store's calls, in their order."""
    names: dict[str, str] = {}
    order = []
    for line in trace.splitlines():
        if found := re.search(r'openat\(\w+, "([^"]*)".* = (\d+)', line):
            names[found[2]] = found[1]
        elif found := re.search(r"\b(write|pwrite64|fsync|fdatasync)\((\d+)", line):
            order.append(f"{found[1]} {names.get(found[2], '?').rpartition('/mail')[2]}")
        elif found := re.search(r"\b(rename)\(", line):
            order.append(found[1])
        elif '"/acknowledged"' in line:
            return order
    raise AssertionError(trace)


ONE = """
s = open_store(url); await s.open()
os.path.exists('/begin'); await s.put(make()); os.path.exists('/acknowledged'); await s.close()
"""


@pytest.mark.parametrize("technology", DURABLE)
def test_acknowledgement_comes_after_the_syncs(technology, tmp_path):
    needs_strace()
    trace = tmp_path / "trace"
    calls = "trace=openat,write,pwrite64,fsync,fdatasync,rename,%%stat"
    run(ONE, url_of(technology, tmp_path), before=("strace", "-f", "-o", str(trace), "-e", calls))
    text = trace.read_text()
    after_open = text.partition('"/begin"')[2]
    # SQLite's files are named when they are opened, which is before.
    order = sync_order(after_open if technology == "maildir" else text)
    if technology == "maildir":
        words = [each.split()[0] for each in order if "/tmp/" in each or each == "rename"]
        assert words == ["write", "write", "fsync", "rename"]
        disk = [each for each in order if each == "rename" or each.startswith("fsync")]
        assert disk[-1] == "fsync /new"
    else:
        log = [each.split()[0] for each in order if each.endswith("-wal")]
        assert log[-1] == "fdatasync"
        assert "pwrite64" in log


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
    deadline = asyncio.get_running_loop().time() + 5
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
def test_folder_of_another_user_names_path_user_and_remedy(durable, tmp_path):
    _open_path(tmp_path)
    (tmp_path / "mail").mkdir(mode=0o755)
    line = run("become(65534); await open_store(url).open()", durable)[0]
    assert line.startswith("refused")
    assert str(tmp_path) in line
    assert "65534" in line
    assert "--user" in line


def _open_path(path: Path) -> None:
    """Let every user pass the folders pytest keeps to itself."""
    for folder in (path, *path.parents):
        if folder.owner() == path.owner() and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o055)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_store_in_a_folder_we_may_only_read_is_read(durable, tmp_path):
    async with opened(durable) as store:
        await store.put(message := make(IdSource()))
    _open_path(tmp_path)
    for path in [tmp_path / "mail", *(tmp_path / "mail").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    wanted = f"become(65534); say(open_reader(url).get('{message.id}').id)"
    assert run(wanted, durable) == [message.id]


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
        released.wait(20)
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
    monkeypatch.setattr("prixfixe.stores.writer.CLOSE_SECONDS", 0.05)
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


async def test_reserve_is_asked_for_at_most_once_a_second(tmp_path, monkeypatch):
    asked, real = [], os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: asked.append(path) or real(path))
    async with opened(url_of("sqlite", tmp_path), StoreOptions(min_free=1)) as store:
        ids = IdSource()
        for _ in range(20):
            await store.put(make(ids))
    assert len(asked) <= 2


def test_reader_of_something_else_is_refused(durable, tmp_path):
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "x.db").write_text("this is a shopping list, not a mail store" * 40)
    with pytest.raises(StoreOpenError):
        open_reader(durable)
