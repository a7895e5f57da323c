"""What the store tests share: messages, open stores, and programs run in other processes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.durability import disks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DURABLE = ("sqlite", "maildir")
KEEPING = (*DURABLE, "memory")


def url_of(technology: str, folder: Path) -> str:
    return {
        "sqlite": f"sqlite:{folder / 'mail' / 'x.db'}",
        "maildir": f"maildir:{folder / 'mail'}",
    }.get(technology, f"{technology}:")


# --- other processes

PROGRAM = """
import asyncio, sys, os
from prixfixe.mail.message import Envelope, IdSource, Message, Recipient
from prixfixe.stores.base import StoreOptions
from prixfixe.stores.registry import open_reader, open_store
from tests.durability import disks
from prixfixe.stores.maildir import store as maildir, reader as maildir_reader; from prixfixe.stores.sqlite import store as sqlite, reader as sqlite_reader# before setuid
from prixfixe.stores.base import StoreError, StoreOpenError
ids = IdSource()
def make(body=b"x" * 2000):
    made, at = ids()
    return Message(made, at, Envelope("a@b", (Recipient("c@d"),)), body)
def become(user):
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
async def result(future):
    try:
        await future
    except StoreError as error:
        return error.kind
    return "kept"
async def main(url):
BODY
try:
    asyncio.run(main(sys.argv[1]))
except StoreOpenError as error:
    say("refused", error)
"""


def program(body: str) -> list[str]:
    """Return the command of a Python program whose `main(url)` is this body."""
    indented = "\n".join("    " + line for line in body.strip("\n").splitlines())
    return [sys.executable, "-c", PROGRAM.replace("BODY", indented)]


def run(body: str, url: str, *, before: tuple[str, ...] = ()) -> list[str]:
    """Run such a program to its end; return its lines."""
    done = subprocess.run(
        [*before, *program(body), url],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@contextlib.contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs; skip where that is not allowed."""
    with contextlib.ExitStack() as stack:
        try:
            disk = stack.enter_context(disks.small_disk(folder, options))
        except OSError as error:
            pytest.skip(f"a file system cannot be mounted here: {error}")
        yield disk
