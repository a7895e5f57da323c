"""What is true of one technology only: SQLite's settings and damage, Maildir's names and moves."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from prixfixe.mail.message import Envelope, IdSource, Recipient, trace_headers
from prixfixe.stores.base import DamagedError, StoreError, StoreOpenError, StoreOptions
from prixfixe.stores.maildir.file import decode, encode, parse_name
from prixfixe.stores.registry import open_reader, open_store
from prixfixe.testing.store_contract import make, opened, reading
from tests.support.store_cases import run, url_of


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "mail" / "x.db"


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    return tmp_path / "mail"


async def keep(url: str, count: int = 3, body: bytes = b"x" * 3000) -> list[str]:
    ids = IdSource()
    messages = [make(ids, body) for _ in range(count)]
    async with opened(url) as store:
        for message in messages:
            await store.put(message)
    return [each.id for each in messages]


# --- SQLite


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("wal_autocheckpoint", 0),
        ("page_size", 8192),
        ("auto_vacuum", 2),
        ("journal_size_limit", 32 << 20),
        ("cache_size", -8192),
        ("mmap_size", 0),
        ("user_version", 1),
    ],
)
async def test_sqlite_setting_is_in_force(database, name, value):
    store = open_store(f"sqlite:{database}")
    await store.open()
    row = await store._ask("test", lambda: store._backend._db.execute(f"PRAGMA {name}").fetchone())
    assert row[0] == value
    await store.close()


async def test_sqlite_log_is_folded_in_by_close(database):
    await keep(f"sqlite:{database}")
    assert sorted(path.name for path in database.parent.iterdir()) == [
        "x.db",
        "x.db.lock",
        "x.db.reserve",
    ]


async def test_sqlite_log_stays_bounded_under_a_reader(database):
    async with opened(f"sqlite:{database}") as store:
        with reading(f"sqlite:{database}") as reader:
            ids = IdSource()
            for _ in range(12):
                await asyncio.gather(*[store.put(make(ids, b"x" * 100_000)) for _ in range(80)])
                reader.ids(0, 10)
            log = database.with_name("x.db-wal").stat().st_size
    assert log < 96 << 20


async def test_sqlite_gives_deleted_space_back(database):
    operations = []
    options = StoreOptions(on_operation=lambda op, *_: operations.append(op))
    async with opened(f"sqlite:{database}", options) as store:
        ids = IdSource()
        await asyncio.gather(*[store.put(make(ids, b"x" * 500_000)) for _ in range(60)])
        await store.delete(None)
        deadline = asyncio.get_running_loop().time() + 40
        while database.stat().st_size > 1_000_000:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)
    # A step gives many pages back: one a step would be thousands, each with its sync.
    assert operations.count("settle") < 100


async def test_sqlite_of_a_newer_schema_is_refused(database):
    await keep(f"sqlite:{database}")
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    for attempt in (open_store(f"sqlite:{database}").open, _read(database)):
        with pytest.raises(StoreOpenError, match="schema version 99, this program knows 1"):
            await attempt()


def _read(database: Path):
    async def attempt() -> None:
        open_reader(f"sqlite:{database}")

    return attempt


async def test_sqlite_database_of_another_program_is_refused(database):
    database.parent.mkdir()
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE recipes(name)")
    connection.close()
    before = database.read_bytes()
    with pytest.raises(StoreOpenError, match="another program"):
        await open_store(f"sqlite:{database}").open()
    assert database.read_bytes() == before


async def test_sqlite_file_that_is_no_database_is_refused_and_left_alone(database):
    database.parent.mkdir()
    database.write_bytes(before := b"this is a shopping list" * 500)
    with pytest.raises(StoreOpenError, match=r"not a mail store.*move it away"):
        await open_store(f"sqlite:{database}").open()
    assert database.read_bytes() == before


async def test_sqlite_torn_file_is_refused(database):
    await keep(f"sqlite:{database}", 30)
    os.truncate(database, database.stat().st_size // 2)
    with pytest.raises(StoreOpenError, match=r"damaged.*restore a backup"):
        await open_store(f"sqlite:{database}").open()


async def test_sqlite_flipped_bit_in_a_body_damages_one_message(database):
    ids = await keep(f"sqlite:{database}", 3, b"")
    marked = make(IdSource(), b"MARK" * 5000)
    async with opened(f"sqlite:{database}") as store:
        await store.put(marked)
    content = bytearray(database.read_bytes())
    content[content.rindex(b"MARKMARK")] ^= 1
    database.write_bytes(content)
    async with opened(f"sqlite:{database}") as store:
        await store.put(make(IdSource()))
        with reading(f"sqlite:{database}") as reader:
            assert len(reader.ids()) == 5
            assert all(reader.get(each) for each in ids)
            with pytest.raises(DamagedError, match=marked.id):
                reader.get(marked.id)


@pytest.mark.parametrize(
    "change",
    [
        "id = '9' || substr(id, 2)",
        "id = CAST(x'ff' || substr(id, 2) AS TEXT)",
        "received_at = received_at + 1",
        "envelope = 7",
        "body = 7",
        "body = 'text'",
        "crc = crc + 1",
    ],
)
async def test_sqlite_any_column_damaged_damages_one_message(database, change):
    kept = await keep(f"sqlite:{database}", 3)
    with sqlite3.connect(database) as connection:
        connection.execute(f"UPDATE message SET {change} WHERE id = ?", (kept[1],))
    connection.close()
    with reading(f"sqlite:{database}") as reader:
        listed = list(reader.ids())
        assert len(listed) == 3
        assert {each.id for each in map(reader.get, [kept[0], kept[2]])} == {kept[0], kept[2]}
        damaged = listed[1]
        if "\ufffd" in damaged:  # no id of ours: it is listed, and not found
            assert reader.get(damaged) is None
            return
        with pytest.raises(DamagedError, match="fails its checksum"):
            reader.get(damaged)


async def test_sqlite_any_flipped_bit_near_an_id_keeps_the_others_listed(database):
    """In the table and both indexes: letters of the id, and the octets that tell what it is."""
    kept = await keep(f"sqlite:{database}", 3, b"")
    whole = database.read_bytes()
    places = [found.start() for found in re.finditer(kept[1].encode(), whole)]
    assert len(places) == 3
    for at in [place + step for place in places for step in range(-12, 4)]:
        for bit in range(8):
            database.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            assert _read_all(database) <= set(kept), (at, bit)
    database.write_bytes(whole)
    assert _read_all(database) == set(kept)


def _read_all(database: Path) -> set[str]:
    found = set()
    with contextlib.suppress(StoreError), reading(f"sqlite:{database}") as reader:
        for each in reader.ids():
            assert isinstance(each, str)
            with contextlib.suppress(DamagedError):
                message = reader.get(each)
                found |= {message.id} if message else set()
    return found


async def crashed(database: Path, count: int) -> list[str]:
    """Leave the database and log of a server that was killed after `count` commits."""
    aside = database.parent.with_name("aside")
    store = open_store(f"sqlite:{database}")
    await store.open()
    ids = IdSource()
    messages = [make(ids, b"x" * 3000) for _ in range(count)]
    for message in messages:
        await store.put(message)
    shutil.copytree(database.parent, aside)
    await store.close()
    shutil.rmtree(database.parent)
    aside.rename(database.parent)
    database.with_name("x.db-shm").unlink()
    return [each.id for each in messages]


async def recovered(database: Path):
    store = open_store(f"sqlite:{database}")
    recovery = await store.open()
    await store.close()
    with reading(f"sqlite:{database}") as reader:
        return recovery, list(reversed(reader.ids()))


async def test_sqlite_log_of_a_crash_is_recovered_whole(database):
    ids = await crashed(database, 5)
    recovery, kept = await recovered(database)
    assert (recovery, kept) == ((5, 0, 0, None), ids)


@pytest.mark.parametrize("cut", [1, 4000, 8191, 8192 + 10, 8192 + 24])
async def test_sqlite_torn_log_loses_only_the_last_commit(database, cut):
    ids = await crashed(database, 5)
    log = database.with_name("x.db-wal")
    os.truncate(log, log.stat().st_size - cut)
    recovery, kept = await recovered(database)
    assert kept == ids[:4]
    assert recovery == (4, 1, 0, None)  # what every crash may leave: nothing is saved
    assert not list(database.parent.glob("*.torn.*"))


def damage(path: Path, *places: int) -> bytes:
    """Flip a bit at each place, and return what the file holds now."""
    content = bytearray(path.read_bytes())
    for at in places:
        content[at] ^= 1
    path.write_bytes(content)
    return bytes(content)


FRAME = 24 + 8192


async def test_sqlite_damage_within_the_log_is_counted_and_the_log_saved(database):
    ids = await crashed(database, 6)
    log = database.with_name("x.db-wal")
    content = damage(log, log.stat().st_size // 2)
    recovery, kept = await recovered(database)
    assert kept == ids[: len(kept)]
    assert recovery.complete == len(kept) < 6
    assert recovery.quarantined == 6 - len(kept)
    copy = database.with_name("x.db-wal.damaged.1")
    assert recovery.saved == str(copy)
    assert copy.read_bytes() == content
    assert copy.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "places",
    [(16,), (8,), (9,), (31,), (16, 20), (32 + 8,), (32 + 24 + 100,), (32 + FRAME * 4 + 8,)],
    ids=["salt", "page size", "same", "checksum", "salts", "first frame", "schema", "a frame"],
)
async def test_sqlite_damage_to_any_header_hides_no_commit(database, places):
    await crashed(database, 6)
    content = damage(database.with_name("x.db-wal"), *places)
    recovery, kept = await recovered(database)
    assert recovery.quarantined >= 6 - len(kept) > 0
    assert database.with_name("x.db-wal.damaged.1").read_bytes() == content


async def test_sqlite_last_commit_damaged_is_saved_and_no_alarm(database):
    ids = await crashed(database, 6)
    log = database.with_name("x.db-wal")
    content = damage(log, log.stat().st_size - 100)
    recovery, kept = await recovered(database)
    copy = database.with_name("x.db-wal.torn.1")
    assert (recovery, kept) == ((5, 1, 0, str(copy)), ids[:5])
    assert copy.read_bytes() == content


async def test_sqlite_copies_overwrite_nothing_and_of_torn_logs_three_stay(database):
    for name in ("damaged", "torn"):
        for number in range(1, 5):
            await crashed(database, 6)
            log = database.with_name("x.db-wal")
            at = log.stat().st_size - 100 if name == "torn" else log.stat().st_size // 2
            damage(log, at)
            recovery, _ = await recovered(database)
            assert recovery.saved == str(log.with_name(f"{log.name}.{name}.{number}"))
            database.unlink()
    copies = sorted(path.name for path in database.parent.glob("*-wal.*"))
    kept = [f"damaged.{number}" for number in (1, 2, 3, 4)] + [f"torn.{n}" for n in (2, 3, 4)]
    assert copies == [f"x.db-wal.{name}" for name in kept]


async def test_sqlite_copy_and_its_name_are_synced_before_the_log_is_opened(database, monkeypatch):
    from prixfixe.stores.sqlite import file as sqlite_file

    await crashed(database, 6)
    log = database.with_name("x.db-wal")
    damage(log, log.stat().st_size // 2)
    seen, sync, connect = [], os.fsync, sqlite_file.connect

    def syncing(descriptor):
        seen.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    def connecting(path):
        seen.append("opened")
        return connect(path)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(sqlite_file, "connect", connecting)
    await recovered(database)
    copy = str(log.with_name("x.db-wal.damaged.1"))
    assert seen[seen.index(copy) :][:3] == [copy, str(database.parent), "opened"]


async def test_sqlite_log_that_cannot_be_saved_stays(database, monkeypatch):
    await crashed(database, 6)
    log = database.with_name("x.db-wal")
    content = damage(log, log.stat().st_size // 2)

    def full(*_args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("prixfixe.stores.sqlite.wal_salvage.shutil.copyfileobj", full)
        for _ in range(2):
            with pytest.raises(StoreOpenError, match="full file system"):
                await open_store(f"sqlite:{database}").open()
            assert log.read_bytes() == content
    assert not list(database.parent.glob("*.damaged.*"))
    recovery, _ = await recovered(database)
    assert recovery.quarantined > 0
    assert database.with_name("x.db-wal.damaged.1").read_bytes() == content


async def test_sqlite_log_that_is_saved_is_not_saved_again(database, monkeypatch):
    """A start that goes no further than the copy may be tried for ever."""
    await crashed(database, 6)
    log = database.with_name("x.db-wal")
    damage(log, log.stat().st_size // 2)

    def stuck(*_args):
        raise StoreOpenError("no further")

    with monkeypatch.context() as patched:
        patched.setattr("prixfixe.stores.sqlite.store.files.connect", stuck)
        for _ in range(3):
            with pytest.raises(StoreOpenError, match="no further"):
                await open_store(f"sqlite:{database}").open()
    recovery, _ = await recovered(database)
    assert recovery.saved == str(log.with_name("x.db-wal.damaged.1"))
    assert len(list(database.parent.glob("*.damaged.*"))) == 1


# --- Maildir


async def test_maildir_file_is_trace_then_body(maildir):
    message = make(IdSource())
    async with opened(f"maildir:{maildir}") as store:
        await store.put(message)
        (path,) = (maildir / "new").iterdir()
    content = path.read_bytes()
    assert content.startswith(trace_headers(message) + b"X-PrixFixe-Envelope: ")
    assert content.endswith(b"\r\n" + message.body)
    head = content[: -len(message.body)]
    assert max(map(len, head.split(b"\r\n"))) <= 998
    assert path.name.startswith(f"{int(message.received_at)}.{message.id}.")


def test_maildir_field_folds_below_the_line_limit():
    recipients = tuple(Recipient("é" * 60 + f"{n}@example.org") for n in range(100))
    message = make(IdSource(), b" body that looks folded", Envelope("é@b", recipients))
    head, body = encode(message)
    assert max(map(len, head.split(b"\r\n"))) <= 998
    assert decode(head + body) == message


@pytest.mark.parametrize("cut", [1, 100, 3000, 3300])
async def test_maildir_torn_file_damages_one_message(maildir, cut):
    first, second = await keep(f"maildir:{maildir}", 2)
    path = next(each for each in (maildir / "new").iterdir() if second in each.name)
    os.truncate(path, path.stat().st_size - cut)
    with reading(f"maildir:{maildir}") as reader:
        assert reader.get(first)
        with pytest.raises(DamagedError, match=second):
            reader.get(second)


def test_maildir_every_flipped_bit_of_record_and_body_is_noticed():
    message = make(IdSource(), b"body\r\n")
    head, body = encode(message)
    content = head + body
    for at in range(len(trace_headers(message)), len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 4
        try:
            assert decode(bytes(damaged)) == message, at
        except DamagedError:
            continue


async def test_maildir_mail_moved_to_cur_is_found_and_deleted_mail_is_gone(maildir):
    ids = await keep(f"maildir:{maildir}")
    files = {parse_name(each.name).id: each for each in (maildir / "new").iterdir()}
    files[ids[0]].rename(maildir / "cur" / f"{files[ids[0]].name}:2,RS")
    files[ids[1]].unlink()
    (maildir / "new" / "1234.M1P2.elsewhere").write_text("mail of another program")
    with reading(f"maildir:{maildir}") as reader:
        assert list(reader.ids()) == [ids[2], ids[0]]
        assert reader.get(ids[0]).id == ids[0]
        assert reader.get(ids[1]) is None
    async with opened(f"maildir:{maildir}") as store:
        assert await store.delete(None) == 2
    assert [each.name for each in (maildir / "new").iterdir()] == ["1234.M1P2.elsewhere"]


@pytest.fixture
def looks(monkeypatch):
    """Count the looks at the folders."""
    from prixfixe.stores.maildir import reader as maildir_reader

    made, look = [], maildir_reader.look
    monkeypatch.setattr(maildir_reader, "look", lambda root: made.append(root) or look(root))
    return made


async def test_maildir_is_looked_at_once_for_all_that_is_listed(maildir, looks):
    ids = await keep(f"maildir:{maildir}", 20)
    with reading(f"maildir:{maildir}") as reader:
        looks.clear()
        assert [reader.get(each).id for each in reader.ids()] == ids[::-1]
    assert len(looks) == 1


async def test_maildir_moves_and_deletions_while_it_is_read_cost_one_look(maildir, looks):
    ids = await keep(f"maildir:{maildir}", 20)
    with reading(f"maildir:{maildir}") as reader:
        reader.ids()
        for number, path in enumerate(sorted((maildir / "new").iterdir())):
            if number < 10:
                path.rename(maildir / "cur" / f"{path.name}:2,S")
            else:
                path.unlink()
        os.utime(maildir / "cur", (0, 0))  # it has come to rest
        looks.clear()
        assert [each for each in ids if reader.get(each)] == ids[:10]
        assert len(looks) == 1
        later = (await keep(f"maildir:{maildir}", 1))[0]
        assert reader.get(later).id == later


@pytest.fixture
def renaming(maildir, monkeypatch):
    """Set the flags of a message while `cur/` is read, so that this look misses it; so many times."""
    from prixfixe.stores.maildir import reader as maildir_reader

    scandir, left = os.scandir, [0]

    @contextlib.contextmanager
    def missing(folder):
        with scandir(folder) as files:
            entries = list(files)
        if Path(folder).name == "cur" and left[0]:
            left[0] -= 1
            old = entries.pop().name
            (folder / old).rename(folder / f"{old.partition(':')[0]}:2,{'S' * left[0]}")
        yield entries

    monkeypatch.setattr(maildir_reader.os, "scandir", missing)
    return left


async def test_maildir_mail_renamed_while_it_is_looked_for_is_found(maildir, renaming):
    [name] = await keep(f"maildir:{maildir}", 1)
    [path] = (maildir / "new").iterdir()
    path.rename(maildir / "cur" / path.name)
    with reading(f"maildir:{maildir}") as reader:
        renaming[0] = 1
        assert reader.get(name).id == name
        assert renaming == [0]
        renaming[0] = 1
        assert list(reader.ids()) == [name]
        assert renaming == [0]


async def test_maildir_mail_missed_by_every_look_is_not_gone_for_the_next(maildir, renaming):
    [name] = await keep(f"maildir:{maildir}", 1)
    [path] = (maildir / "new").iterdir()
    with reading(f"maildir:{maildir}") as reader:
        assert list(reader.ids()) == [name]
        path.rename(maildir / "cur" / path.name)
        renaming[0] = 3
        assert reader.get(name) is None
        assert renaming == [0]
        assert reader.get(name).id == name


async def test_maildir_sweeps_its_own_residue_and_nobody_elses(maildir):
    await keep(f"maildir:{maildir}", 1)
    (path,) = (maildir / "new").iterdir()
    shutil.copy(path, maildir / "tmp" / path.name)
    (maildir / "tmp" / "1234.M1P2.elsewhere").write_text("being delivered")
    store = open_store(f"maildir:{maildir}")
    assert await store.open() == (0, 1, 0, None)
    assert [each.name for each in (maildir / "tmp").iterdir()] == ["1234.M1P2.elsewhere"]
    await store.close()


async def test_maildir_retention_counts_what_others_deleted(maildir, monkeypatch):
    monkeypatch.setattr("prixfixe.stores.maildir.store.RESCAN_SECONDS", 0.0)
    ids = IdSource()
    async with opened(f"maildir:{maildir}", StoreOptions(max_messages=3)) as store:
        messages = [make(ids) for _ in range(5)]
        for message in messages[:3]:
            await store.put(message)
        newest = next(e for e in (maildir / "new").iterdir() if messages[2].id in e.name)
        newest.unlink()
        await store.put(messages[3])
        with reading(f"maildir:{maildir}") as reader:
            assert list(reader.ids()) == [messages[3].id, messages[1].id, messages[0].id]


async def test_relative_and_odd_paths_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for url in ("sqlite:odd ?#%41/x.db", "maildir:odd mail/äö"):
        ids = await keep(url, 1)
        with reading(url) as reader:
            assert list(reader.ids()) == ids
    assert url_of("memory", tmp_path) == "memory:"


async def test_sqlite_another_program_that_opens_and_closes_leaves_the_log(database):
    """A reader of the server's own must not end the lock that keeps others off the log."""
    other = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT 1 FROM message')"
    url, ids = f"sqlite:{database}", IdSource()
    async with opened(url) as store:
        await store.put(make(ids))
        with reading(url) as reader:
            assert len(reader.ids()) == 1
            subprocess.run([sys.executable, "-c", other, database], check=True)
            await store.put(make(ids))
            assert run("say(len(open_reader(url).ids()))", url) == ["2"]


async def test_sqlite_by_a_symbolic_link_is_the_same_store(database, tmp_path):
    link = tmp_path / "link.db"
    link.symlink_to(database)
    async with opened(f"sqlite:{database}"):
        with pytest.raises(StoreOpenError, match="in use by pid"):
            await open_store(f"sqlite:{link}").open()


@pytest.mark.parametrize("kind", ["pipe", "folder"])
async def test_sqlite_that_is_no_file_is_refused_at_once(kind, tmp_path):
    path = tmp_path / "x.db"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(StoreOpenError, match="name a file"):
        await open_store(f"sqlite:{path}").open()
    with pytest.raises(StoreOpenError, match="name a file"):
        open_reader(f"sqlite:{path}")


async def test_sqlite_body_of_another_size_than_its_row_says_is_not_read(database):
    ids = await keep(f"sqlite:{database}")
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE message SET body = zeroblob(300000000) WHERE id = ?", ids[:1])
        connection.commit()
    program = (
        "import sys, prixfixe.stores.registry as s; from prixfixe.stores import base\n"
        "reader = s.open_reader(sys.argv[1])\n"
        "try: reader.get(sys.argv[2])\n"
        # Not `ru_maxrss`: that begins with what the parent had.
        "except base.DamagedError: print(open('/proc/self/status').read().split('VmHWM:')[1])"
    )
    command = [sys.executable, "-c", program, f"sqlite:{database}", ids[0]]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert int(told.split()[0]) < 100_000  # KiB


# --- files in a Maildir that are no mail of ours, whatever their names say


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


KINDS = {"pipe": _pipe, "socket": _socket, "folder": Path.mkdir, "link": _link, "sparse": _sparse}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", KINDS)
async def test_maildir_what_is_no_file_is_damaged_and_in_nobodys_way(kind, maildir, monkeypatch):
    ids = await keep(f"maildir:{maildir}")
    monkeypatch.chdir(maildir / "new")  # the name of a socket is short
    KINDS[kind](Path("1700000000.planted.host,B=1073741000"))
    async with opened(f"maildir:{maildir}") as store:
        with reading(f"maildir:{maildir}") as reader:
            assert set(reader.ids()) == {"planted", *ids}
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with pytest.raises(DamagedError, match="planted"):
                reader.get("planted")
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB
            assert all(reader.get(each) for each in ids)
        await store.delete(None)
        with reading(f"maildir:{maildir}") as reader:
            assert set(reader.ids()) <= {"planted"}
            assert (kind == "folder") == bool(reader.ids())


async def test_maildir_record_of_another_id_is_damaged(maildir):
    (first, *_) = await keep(f"maildir:{maildir}")
    path = next(each for each in (maildir / "new").iterdir() if first in each.name)
    path.rename(path.with_name(path.name.replace(first, "another")))
    with (
        reading(f"maildir:{maildir}") as reader,
        pytest.raises(DamagedError, match="another id"),
    ):
        reader.get("another")
