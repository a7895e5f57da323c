"""`prixfixe backup` and `restore`: a copy made while mail arrives, and the drill of using it."""

import asyncio
import contextlib
import itertools
import os
import resource
import smtplib
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from prixfixe.cli.main import main
from prixfixe.mail.message import Envelope, IdSource, Recipient
from prixfixe.stores.base import StoreError
from prixfixe.stores.disk.atomic_file import partial_file
from prixfixe.stores.registry import open_reader
from prixfixe.stores.sqlite import backup as sqlite_backup
from prixfixe.testing.store_contract import make, opened
from tests.conftest import PATIENCE
from tests.unit.test_process import process as process_fixture

process = process_fixture


def url(path):
    return f"sqlite:{path}"


def mail_in(path):
    """Return the ids of a store, oldest first, every message read."""
    with contextlib.closing(open_reader(url(path))) as reader:
        ids = list(reversed(reader.ids()))
        for one in ids:
            assert reader.get(one) is not None
        return ids


async def fill(path, count=5, body=b"Subject: x\r\n\r\nhello\r\n"):
    ids = IdSource()
    messages = [
        make(ids, body, Envelope("a@x.test", (Recipient("b@y.test"),))) for _ in range(count)
    ]
    async with opened(url(path)) as store:
        for message in messages:
            await store.put(message)
    return [message.id for message in messages]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Name a store in the environment."""
    path = tmp_path / "mail" / "prixfixe.db"
    monkeypatch.setenv("SMTP_STORE", url(path))
    monkeypatch.setenv("SMTP_STORE_MIN_FREE", "0")
    return path


class Sender(threading.Thread):
    """A client that sends until told to stop, and its record of what was acknowledged."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.acknowledged = []
        self.may_stop, self.has_begun = threading.Event(), threading.Event()

    def run(self):
        with smtplib.SMTP("127.0.0.1", self.port, timeout=PATIENCE) as smtp:
            smtp.ehlo()
            for number in itertools.count():
                if self.may_stop.is_set():
                    return
                smtp.mail("a@x.test")
                smtp.rcpt("b@y.test")
                code, text = smtp.data(b"Subject: %d\r\n\r\n" % number + b"x" * 20_000)
                assert code == 250
                self.acknowledged.append(text.decode().rpartition(" ")[2])
                if number == 20:
                    self.has_begun.set()


def test_a_copy_made_while_mail_arrives_holds_all_that_was_acknowledged(process):
    server = process(SMTP_STORE="sqlite:mail.db").ready()
    sender = Sender(server.port)
    sender.start()
    assert sender.has_begun.wait(PATIENCE)
    copies, meanwhile = [], 0
    while meanwhile < 3:  # a disk may well keep nothing for as long as one copy takes
        assert len(copies) < 20, "no mail came while the copies were made"
        before = len(sender.acknowledged)
        name = f"copy{len(copies)}.db"
        done = server.command("backup", name)
        assert (done.returncode, done.stdout) == (0, b""), done.stderr
        meanwhile += len(sender.acknowledged) > before
        copies.append((before, mail_in(server.folder / name)))
    sender.may_stop.set()
    sender.join()
    assert server.end() == 0
    for before, ids in copies:
        assert len(ids) >= before
        assert ids == sender.acknowledged[: len(ids)]
    assert mail_in(server.folder / "mail.db") == sender.acknowledged
    assert not list(server.folder.glob("*.partial"))


async def test_the_drill(store, tmp_path, capsys):
    ids = await fill(store)
    copy = tmp_path / "copy.db"
    assert main(["backup", str(copy)]) == 0
    assert "5 messages, 105 octets copied to" in capsys.readouterr().err
    assert copy.stat().st_mode & 0o777 == 0o600
    for path in store.parent.iterdir():  # the volume is lost
        path.unlink()
    store.parent.rmdir()
    assert main(["restore", str(copy)]) == 0
    assert "5 messages, 105 octets restored to" in capsys.readouterr().err
    assert mail_in(store) == ids
    later = await fill(store, 1)
    assert mail_in(store) == [*ids, *later]
    assert mail_in(copy) == ids


async def test_a_copy_is_one_file_that_needs_no_other(store, tmp_path):
    ids = await fill(store)
    folder = tmp_path / "safe"
    folder.mkdir()
    assert main(["backup", str(folder / "copy.db")]) == 0
    assert [path.name for path in folder.iterdir()] == ["copy.db"]
    with contextlib.closing(sqlite3.connect(folder / "copy.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    assert mail_in(folder / "copy.db") == ids


async def test_through_pipes(store, tmp_path):
    ids = await fill(store)
    there = url(tmp_path / "there" / "mail.db")
    command = [sys.executable, "-m", "prixfixe"]
    backup = subprocess.run([*command, "backup", "-"], capture_output=True, env={**os.environ})
    assert backup.returncode == 0, backup.stderr
    assert b"copied to standard output" in backup.stderr
    restore = subprocess.run(
        [*command, "restore", "-"],
        input=backup.stdout,
        capture_output=True,
        env={**os.environ, "SMTP_STORE": there},
    )
    assert restore.returncode == 0, restore.stderr
    assert mail_in(there.removeprefix("sqlite:")) == ids
    assert not [path.name for path in store.parent.iterdir() if "backup" in path.name]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_makes_no_backup(store, monkeypatch, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    asyncio.run(fill(store, 3, b"x" * 100_000))
    command = [sys.executable, "-m", "prixfixe", "backup", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as backup:
        assert len(backup.stdout.read(5000)) == 5000
        backup.stdout.close()
        told = backup.stderr.read()
    assert backup.returncode == 1
    assert b"standard output was closed before all was written" in told
    assert b"copied to" not in told
    assert not list(store.parent.glob("*.partial"))


async def test_names_that_are_no_text(store, tmp_path):
    ids = await fill(store)
    copy = tmp_path / os.fsdecode(b"\xff\xfe.db")
    assert main(["backup", str(copy)]) == 0
    assert mail_in(copy) == ids


async def test_what_is_there_is_not_overwritten(store, tmp_path, capsys):
    await fill(store)
    copy = tmp_path / "copy.db"
    copy.write_text("precious")
    assert main(["backup", str(copy)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert copy.read_text() == "precious"


async def test_a_name_taken_meanwhile_is_not_overwritten(store, tmp_path, monkeypatch):
    await fill(store)
    copy, prove = tmp_path / "copy.db", sqlite_backup.prove

    def slow(path):
        copy.write_text("precious")
        return prove(path)

    monkeypatch.setattr(sqlite_backup, "prove", slow)
    assert main(["backup", str(copy)]) == 1
    assert copy.read_text() == "precious"
    assert not list(tmp_path.glob("*.partial"))


async def test_a_disk_that_fills_up_leaves_nothing(store, tmp_path, capsys):
    await fill(store, 3, b"x" * 100_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, before[1]))
    try:
        assert main(["backup", str(tmp_path / "copy.db")]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "SQLITE" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mail"]


async def test_the_reserve_for_mail_is_not_used_up(store, tmp_path, monkeypatch, capsys):
    await fill(store)
    monkeypatch.setenv("SMTP_STORE_MIN_FREE", str(1 << 50))
    assert main(["backup", str(tmp_path / "copy.db")]) == 1
    assert "SMTP_STORE_MIN_FREE keeps for mail" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mail"]


async def test_what_a_dead_backup_left_is_taken_over(store, tmp_path):
    ids = await fill(store)
    (tmp_path / "copy.db.partial").write_bytes(b"rubbish" * 5000)
    assert main(["backup", str(tmp_path / "copy.db")]) == 0
    assert mail_in(tmp_path / "copy.db") == ids


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
async def test_a_link_planted_at_the_partial_name_harms_nothing(store, tmp_path, link):
    await fill(store)
    (tmp_path / "precious").write_text("precious")
    getattr(tmp_path / "copy.db.partial", link)(tmp_path / "precious")
    code = main(["backup", str(tmp_path / "copy.db")])
    assert (tmp_path / "precious").read_text() == "precious"
    assert code == (1 if link == "symlink_to" else 0)


async def test_two_backups_to_one_name(store, tmp_path):
    await fill(store)
    with (
        partial_file(tmp_path / "copy.db"),
        pytest.raises(StoreError, match="being written by another process"),
    ):
        sqlite_backup.back_up(store, tmp_path / "copy.db", min_free=0)


async def test_damage_is_named_and_the_rest_is_copied(store, tmp_path, capsys):
    ids = await fill(store)
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as database:
        database.execute("UPDATE message SET body = ? WHERE id = ?", (b"other", ids[2]))
    assert main(["backup", str(tmp_path / "copy.db")]) == 1
    told = capsys.readouterr().err
    assert f"message {ids[2]}" in told
    assert "totals say" in told  # the body is shorter than what was counted
    with contextlib.closing(open_reader(url(tmp_path / "copy.db"))) as reader:
        assert reader.get(ids[1]) is not None


async def test_a_torn_page_is_named(store, tmp_path, capsys):
    await fill(store, 200, b"y" * 5000)
    with store.open("r+b") as file:
        file.seek(8192 * 40)
        file.write(b"\xff" * 8192)
    assert main(["backup", str(tmp_path / "copy.db")]) == 1
    assert "prixfixe: " in capsys.readouterr().err


async def test_restore_under_a_running_server_is_refused(store, tmp_path, capsys):
    ids = await fill(store)
    assert main(["backup", str(tmp_path / "copy.db")]) == 0
    async with opened(url(store)):
        assert main(["restore", "--replace", str(tmp_path / "copy.db")]) == 3
    assert "is in use by pid" in capsys.readouterr().err
    assert mail_in(store) == ids


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
async def test_a_restore_that_fails_at_the_last_step_leaves_the_store(
    store, tmp_path, monkeypatch, links
):
    ids = await fill(store, 2)
    assert main(["backup", str(tmp_path / "copy.db")]) == 0
    before = sorted(path.name for path in store.parent.iterdir())
    rename = Path.rename

    def broken(self, target):
        if ".restored" in self.name:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    def no_links(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "rename", broken)
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    assert main(["restore", "--replace", str(tmp_path / "copy.db")]) == 3
    monkeypatch.undo()
    assert mail_in(store) == ids
    assert sorted(path.name for path in store.parent.iterdir()) == before


async def test_restore_keeps_the_mail_it_replaces(store, tmp_path, capsys):
    old = await fill(store, 2)
    assert main(["backup", str(tmp_path / "copy.db")]) == 0
    new = await fill(store, 3)
    assert main(["restore", str(tmp_path / "copy.db")]) == 3
    assert "holds 5 messages; --replace moves it to prixfixe.db.replaced" in capsys.readouterr().err
    assert mail_in(store) == [*old, *new]
    assert main(["restore", "--replace", str(tmp_path / "copy.db")]) == 0
    assert mail_in(store) == old
    assert mail_in(store.with_name("prixfixe.db.replaced")) == [*old, *new]
    later = await fill(store, 1)
    for number in (1, 2):
        assert main(["restore", "--replace", str(tmp_path / "copy.db")]) == 0
        assert f"is now {store}.replaced.{number}" in capsys.readouterr().err
    assert mail_in(store.with_name("prixfixe.db.replaced")) == [*old, *new]
    assert mail_in(store.with_name("prixfixe.db.replaced.1")) == [*old, *later]
    assert mail_in(store.with_name("prixfixe.db.replaced.2")) == old


def other_database(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE mine(x)")
    return path.read_bytes()


@pytest.mark.parametrize("has_store", [True, False])
@pytest.mark.parametrize("what", ["nothing", "text", "database"])
async def test_what_is_no_copy_changes_nothing(store, tmp_path, what, has_store):
    ids = await fill(store, 2) if has_store else []
    made = other_database(tmp_path / "other.db")
    octets = {"nothing": b"", "text": b"# PrixFixe\n" * 2000, "database": made}[what]
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = subprocess.run(
        [sys.executable, "-m", "prixfixe", "restore", "--replace", "-"],
        input=octets,
        capture_output=True,
    )
    assert done.returncode == 1
    fault = "is empty" if what == "nothing" else "is not a copy that backup made"
    assert done.stderr.decode() == f"prixfixe: standard input {fault}: nothing was changed\n"
    after = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
    assert store.parent.exists() == has_store
    assert not has_store or mail_in(store) == ids


def spoil(store, copy, one):
    """Make a copy whose one message is not as it was written."""
    assert main(["backup", str(copy)]) == 0
    with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as database:
        database.execute("UPDATE message SET body = CAST(? AS BLOB) WHERE id = ?", ("no", one))


async def test_a_damaged_copy_changes_nothing(store, tmp_path, capsys):
    ids = await fill(store)
    spoil(store, tmp_path / "copy.db", ids[2])
    before = {path.name: path.read_bytes() for path in store.parent.iterdir()}
    capsys.readouterr()
    assert main(["restore", "--replace", str(tmp_path / "copy.db")]) == 1
    told = capsys.readouterr().err
    assert f"message {ids[2]}" in told
    assert "copy.db is damaged: nothing was changed; --damaged" in told
    assert "restored to" not in told
    assert (
        before.items() <= {path.name: path.read_bytes() for path in store.parent.iterdir()}.items()
    )
    assert mail_in(store) == ids
    assert not list(store.parent.glob("*.replaced"))


async def test_a_damaged_copy_is_restored_when_that_is_asked_for(store, tmp_path, capsys):
    ids = await fill(store)
    spoil(store, tmp_path / "copy.db", ids[2])
    capsys.readouterr()
    assert main(["restore", "--replace", "--damaged", str(tmp_path / "copy.db")]) == 0
    told = capsys.readouterr().err
    assert "restored to" in told
    assert f"message {ids[2]}" in told
    assert mail_in(store.with_name("prixfixe.db.replaced")) == ids
    with contextlib.closing(open_reader(url(store))) as reader:
        assert len(reader.ids()) == 5
        assert reader.get(ids[1]) is not None


async def test_restore_into_an_empty_store(store, tmp_path):
    ids = await fill(store)
    assert main(["backup", str(tmp_path / "copy.db")]) == 0
    store.unlink()
    await fill(store, 0)
    assert main(["restore", str(tmp_path / "copy.db")]) == 0
    assert mail_in(store) == ids


def crash(store):
    """Leave a log of nine commits behind."""
    program = (
        "import asyncio, os, sys; sys.path.insert(0, os.getcwd())\n"
        "from prixfixe.mail.message import IdSource\n"
        "from prixfixe.testing.store_contract import make, open_store\n"
        "async def go():\n"
        "    store = open_store(os.environ['SMTP_STORE']); await store.open()\n"
        "    for _ in range(9): await store.put(make(IdSource()))\n"
        "    os._exit(9)\n"
        "asyncio.run(go())"
    )
    done = subprocess.run([sys.executable, "-c", program], env=dict(os.environ))
    assert done.returncode == 9
    assert store.with_name("prixfixe.db-wal").stat().st_size > 0


async def test_a_log_of_before_does_not_meet_the_copy(store, tmp_path):
    """After a crash the log holds commits; on another database they would be damage."""
    old = await fill(store, 2)
    assert main(["backup", str(tmp_path / "copy.db")]) == 0
    crash(store)
    assert main(["restore", "--replace", str(tmp_path / "copy.db")]) == 0
    assert mail_in(store) == old
    assert len(mail_in(store.with_name("prixfixe.db.replaced"))) == 11
    assert not store.with_name("prixfixe.db-wal").exists()


async def test_a_damaged_log_is_saved_before_the_store_is_set_aside(store, tmp_path):
    await fill(store, 2)
    assert main(["backup", str(tmp_path / "copy.db")]) == 0
    crash(store)
    log = store.with_name("prixfixe.db-wal")
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    assert main(["restore", "--replace", str(tmp_path / "copy.db")]) == 0
    assert store.with_name("prixfixe.db-wal.damaged.1").read_bytes() == content
    assert not log.exists()


async def test_a_damaged_store_is_replaced_and_kept_with_its_log(store, tmp_path):
    ids = await fill(store)
    assert main(["backup", str(tmp_path / "copy.db")]) == 0
    store.write_bytes(b"no database " * 1000)
    store.with_name("prixfixe.db-wal").write_bytes(b"its log")
    assert main(["restore", str(tmp_path / "copy.db")]) == 3
    assert main(["restore", "--replace", str(tmp_path / "copy.db")]) == 0
    assert mail_in(store) == ids
    assert store.with_name("prixfixe.db.replaced").read_bytes().startswith(b"no database")
    assert store.with_name("prixfixe.db.replaced-wal").read_bytes() == b"its log"


@pytest.mark.parametrize(
    ("octets", "reason"),
    [(b"", "copy.db is empty"), (b"Subject: x\r\n\r\n" * 100, "copy.db is not a copy")],
    ids=["nothing", "mail"],
)
async def test_what_is_no_store_is_not_restored(store, tmp_path, capsys, octets, reason):
    (tmp_path / "copy.db").write_bytes(octets)
    assert main(["restore", str(tmp_path / "copy.db")]) == 1
    assert reason in capsys.readouterr().err
    assert not store.exists()


@pytest.mark.parametrize("command", ["backup", "restore"])
@pytest.mark.parametrize(
    ("named", "answer"),
    [("maildir:mail", "folder of whole files"), ("memory:", "lives in no file")],
)
def test_other_stores_get_an_answer(monkeypatch, tmp_path, capsys, command, named, answer):
    monkeypatch.setenv("SMTP_STORE", named)
    file = tmp_path / "copy.db"
    file.touch()
    assert main([command, str(file if command == "restore" else tmp_path / "new.db")]) == 3
    assert answer in capsys.readouterr().err


def test_backup_of_nothing(store, tmp_path, capsys):
    assert main(["backup", str(tmp_path / "copy.db")]) == 3
    assert "does not exist" in capsys.readouterr().err


async def test_where_files_have_one_name_only(store, tmp_path, monkeypatch):
    ids = await fill(store)

    def refuse(self, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    assert main(["backup", str(tmp_path / "copy.db")]) == 0
    assert mail_in(tmp_path / "copy.db") == ids
