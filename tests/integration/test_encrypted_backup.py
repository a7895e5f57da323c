"""The encrypted backup of docs/public.md: what is written cannot be read without the key."""

import asyncio
import os
import smtplib
import subprocess
import sys

import pytest

from tests.integration.test_clients import needs

BODY = b"Subject: a secret\r\n\r\nnobody else reads this\r\n"
PROGRAM = (sys.executable, "-m", "prixfixe")


def deliver(port):
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.sendmail("a@example.com", ["b@example.com"], BODY)


@pytest.fixture
async def store(start, tmp_path):
    """The URL of a store with a message, whose server runs on."""
    url = f"sqlite:{tmp_path / 'prixfixe.db'}"
    running = await start(SMTP_STORE=url)
    await asyncio.to_thread(deliver, running.port)
    return url


def backed_up(store, *command):
    """Run `prixfixe backup - | command`."""
    environ = {**os.environ, "SMTP_STORE": store}
    backup = subprocess.run([*PROGRAM, "backup", "-"], env=environ, capture_output=True)
    assert backup.returncode == 0, backup.stderr
    run(*command, octets=backup.stdout)


def run(*command, octets=b"", **environ):
    done = subprocess.run(command, input=octets, env={**os.environ, **environ}, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(encrypted, plain):
    octets = encrypted.read_bytes()
    assert octets
    assert b"secret" not in octets
    assert b"SQLite" not in octets
    listed = run(*PROGRAM, "messages", SMTP_STORE=f"sqlite:{plain}")
    assert b"a secret" in listed


@needs("age")
async def test_age_needs_no_secret_to_write(store, tmp_path):
    key, encrypted, plain = (tmp_path / name for name in ("key", "mail.db.age", "mail.db"))
    run("age-keygen", "--output", str(key))
    public = run("age-keygen", "-y", str(key)).decode().strip()
    words = ("age", "--recipient", public, "--output", str(encrypted))
    await asyncio.to_thread(backed_up, store, *words)
    run("age", "--decrypt", "--identity", str(key), "--output", str(plain), str(encrypted))
    await asyncio.to_thread(check, encrypted, plain)


@needs("gpg")
async def test_gnupg_does_it_too(store, tmp_path):
    encrypted, plain, home = (tmp_path / name for name in ("mail.db.gpg", "mail.db", "gnupg"))
    home.mkdir(mode=0o700)
    user, quiet = (
        "you@example.com",
        ("gpg", "--batch", "--no-auto-key-locate", "--homedir", str(home)),
    )
    await asyncio.to_thread(
        run, *quiet, "--passphrase", "", "--quick-generate-key", user, "future-default"
    )
    words = (*quiet, "--trust-model", "always", "--encrypt", "--recipient", user)
    await asyncio.to_thread(backed_up, store, *words, "--output", str(encrypted))
    run(*quiet, "--output", str(plain), "--decrypt", str(encrypted))
    run("gpgconf", "--homedir", str(home), "--kill", "all")
    await asyncio.to_thread(check, encrypted, plain)
