"""Whatever a store does to its own files, it does not take for the doing of somebody else."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from typing import TYPE_CHECKING

import pytest

from prixfixe.mail.message import IdSource
from prixfixe.stores.base import StoreError, StoreOptions
from prixfixe.stores.registry import open_reader
from prixfixe.stores.sqlite import file as files
from prixfixe.stores.sqlite import place as sqlite_place
from prixfixe.stores.sqlite import store as sqlite
from prixfixe.testing.store_contract import make

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 100
SIZES = (10, 3000, 70_000)


class Life:
    """A store without its thread, and the things that happen to one."""

    def __init__(self, path: Path, options: StoreOptions, draw: random.Random) -> None:
        self.path, self.options, self.draw = path, options, draw
        self.ids = IdSource()
        self.made: list[str] = []
        self.others = contextlib.ExitStack()
        self.database = sqlite._Database(path, options)
        self.database.open()

    def put(self) -> None:
        group = [
            make(self.ids, b"x" * self.draw.choice(SIZES))
            for _ in range(self.draw.choice((1, 1, 9)))
        ]
        self.database.commit(group)
        self.made += [each.id for each in group]

    def delete_some(self) -> None:
        self.database.delete(self.draw.sample(self.made, len(self.made) // 2))

    def delete_all(self) -> None:
        self.database.delete(None)

    def delete_without_room(self) -> None:
        self.database._delete_without_room(self.draw.sample(self.made, len(self.made) // 2))

    def settle(self) -> None:
        while self.database.settle():
            pass

    def settle_a_step(self) -> None:
        self.database.settle()

    def probe(self) -> None:
        self.database.probe()

    def fold(self) -> None:
        how = self.draw.choice(("PASSIVE", "FULL", "RESTART", "TRUNCATE"))
        sqlite._fold(self.database._db, how)

    def fail(self) -> None:
        """Have the next write begin with a new connection, as after an error of the disk."""
        self.others.close()
        self.database._is_suspect = True

    def start_again(self) -> None:
        self.others.close()
        self.database.close()
        self.database = sqlite._Database(self.path, self.options)
        self.database.open()

    def read_on(self) -> None:
        """Leave a reader that holds the log where it is."""
        reader = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        self.others.enter_context(contextlib.closing(reader))
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM message").fetchone()

    def read(self) -> None:
        self.others.close()
        with contextlib.closing(open_reader(f"sqlite:{self.path}")) as reader:
            assert reader.totals().messages == len(reader.ids())

    def fold_elsewhere(self) -> None:
        """Have another process write, and fold the log."""
        code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA wal_checkpoint')"
        assert os.spawnlp(os.P_WAIT, "python3", "python3", "-c", code, str(self.path)) == 0


DEEDS = [name for name in vars(Life) if not name.startswith("_")]


@pytest.fixture
def small(monkeypatch):
    """Have the log folded and pages given back after a few messages, and few waits for readers."""
    monkeypatch.setattr(sqlite, "CHECKPOINT_BYTES", 200_000)
    monkeypatch.setattr(sqlite, "LONG_LOG_BYTES", 600_000)
    monkeypatch.setattr(sqlite, "VACUUM_PAGES", 8)
    monkeypatch.setattr(sqlite, "RESTART_MILLISECONDS", 1)
    monkeypatch.setattr(files, "BUSY_SECONDS", 0.05)


@pytest.mark.usefixtures("small")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "options",
    [StoreOptions(), StoreOptions(max_messages=12), StoreOptions(max_age=0.01)],
    ids=["all kept", "so many", "so old"],
)
@pytest.mark.parametrize("seed", range(2))
def test_sqlite_its_own_work_is_never_taken_for_displaced(seed, options, tmp_path):
    draw = random.Random(f"{seed} {options.max_messages} {options.max_age}")
    life = Life(tmp_path / "mail" / "x.db", options, draw)
    done = []
    for _ in range(STEPS):
        deed = draw.choice([*DEEDS, "put", "put", "put", "settle"])
        done.append(deed)
        try:
            getattr(life, deed)()
            life.database._confirm()
        except StoreError as error:
            assert error.kind != "displaced", f"{error} {done}"
            assert "holds the log" in str(error), f"{error} {done}"
        except sqlite3.OperationalError as error:
            assert "locked" in str(error), f"{done}"
    life.others.close()
    life.database.close()


def test_sqlite_a_look_notes_no_time_of_reading(tmp_path):
    """Noting it on disk after each write took ten times as long as the look itself."""
    life = Life(tmp_path / "mail" / "x.db", StoreOptions(), random.Random(0))
    life.put()
    log = life.path.with_name("x.db-wal")
    os.utime(log, ns=(1, log.stat().st_mtime_ns))
    life.database._confirm()
    assert sqlite_place.Place.fault(life.database._place) is None
    assert log.stat().st_atime_ns == 1
    life.database.close()
