"""Certificate and users replaced while the server runs: in use, in the log, in metric, in /readyz."""

import asyncio
import datetime as dt
import ssl
import threading

import pytest
import trustme

from prixfixe.auth.hashes import hash_password
from prixfixe.server import app as server
from prixfixe.server import reload as renewal
from tests.conftest import PATIENCE, Wire, until
from tests.unit.test_connection import START, client_context

HASHES = {word: hash_password(word) for word in ("old", "new")}


def replace(path, octets):
    """Put a file in place as a whole: a reader in between sees the old or the new, never half."""
    new = path.with_suffix(".new")
    new.write_bytes(octets)
    new.replace(path)


class Files:
    """A certificate, its key and a users file, as a mounted folder has them."""

    def __init__(self, folder):
        self.cert, self.key, self.users = folder / "cert", folder / "key", folder / "users"

    def issue(self, *names, **validity):
        """Write a new pair; return the certificate as a client sees it."""
        pair = trustme.CA().issue_cert(*(names or ["localhost"]), **validity)
        pem = pair.cert_chain_pems[0].bytes()
        replace(self.cert, pem)
        replace(self.key, pair.private_key_pem.bytes())
        return ssl.PEM_cert_to_DER_cert(pem.decode())

    def allow(self, word):
        replace(self.users, f"alice:{HASHES[word]}\n".encode())

    @property
    def variables(self):
        return {
            "SMTP_TLS_CERT": str(self.cert),
            "SMTP_TLS_KEY": str(self.key),
            "SMTP_AUTH": "optional",
            "SMTP_AUTH_USERS": str(self.users),
        }


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "POLL_SECONDS", 0.02)
    files = Files(tmp_path)
    files.issue()
    files.allow("old")
    return files


async def secured(running):
    wire = await running.say_hello()
    assert await wire.ask(b"STARTTLS\r\n") == [220]
    await wire.writer.start_tls(client_context())
    assert await wire.ask(b"EHLO c.test\r\n") == [250]
    return wire


def served(wire):
    return wire.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)


def plain(word):
    from base64 import b64encode

    return b"AUTH PLAIN " + b64encode(b"\0alice\0" + word.encode()) + b"\r\n"


def reloads(running, what, result):
    return running.server.metrics.series()[f"{what}_reloads"].counts[result,]


async def test_a_changed_pair_is_served_to_new_sessions_and_old_ones_live(start, files):
    running = await start(**files.variables)
    old = await secured(running)
    new = files.issue()
    await until(lambda: reloads(running, "tls", "ok"))
    assert served(await secured(running)) == new
    assert served(old) != new
    assert await old.ask(START + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]
    assert {one["what"] for one in running.logged("reloaded")} == {"tls"}


async def test_the_certificate_in_use_is_told_by_its_names_and_its_end(start, files):
    files.issue(
        "mail.example.org", "192.0.2.1", not_after=dt.datetime(2040, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    )
    running = await start(**files.variables)
    (told,) = running.logged("certificate in use")
    assert told["names"] == "mail.example.org, 192.0.2.1"
    assert told["expires"] == "2040-01-02T03:04:05+00:00"
    files.allow("new")
    await until(lambda: reloads(running, "auth", "ok"))
    assert len(running.logged("certificate in use")) == 1, "it is the same"
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    files.issue("old.example.org", not_before=past, not_after=past.replace(month=2))
    await until(lambda: running.logged("certificate expired"))
    (told,) = running.logged("certificate expired")
    assert (told["level"], told["names"]) == ("warning", "old.example.org")
    assert len(running.logged("certificate in use")) == 1


async def test_changed_users_are_asked_at_once(start, files):
    running = await start(**files.variables)
    wire = await secured(running)
    assert await wire.ask(plain("old")) == [235]
    files.allow("new")
    await until(lambda: reloads(running, "auth", "ok"))
    wire = await secured(running)
    assert await wire.ask(plain("old")) == [535]
    assert await wire.ask(plain("new")) == [235]


BROKEN = {
    "cert": ("cert", "tls"),
    "key": ("key", "tls"),
    "users": ("users", "auth"),
}


@pytest.mark.parametrize(("name", "what"), BROKEN.values(), ids=BROKEN)
async def test_a_bad_file_keeps_the_old_and_says_so_until_it_is_mended(start, files, name, what):
    running = await start(**files.variables)
    before = served(await secured(running))
    replace(getattr(files, name), b"broken\n")
    await until(lambda: reloads(running, what, "error"))
    wire = await secured(running)
    assert served(wire) == before
    assert await wire.ask(plain("old")) == [235]
    checks = await running.server.readiness.check()
    assert {check for check, result in checks.items() if not result.is_ok} == {what}
    assert str(getattr(files, name)) in checks[what].detail
    told = running.logged("not reloaded")
    assert (told[0]["level"], told[0]["what"]) == ("error", what)
    assert reloads(running, what, "error") == 1, "said once for each change"
    files.issue()
    files.allow("new")
    await until(lambda: reloads(running, what, "ok"))
    checks = await running.server.readiness.check()
    assert all(result.is_ok for result in checks.values())


async def test_users_alone_are_a_check_too(start, files):
    variables = files.variables
    del variables["SMTP_TLS_CERT"], variables["SMTP_TLS_KEY"]
    running = await start(SMTP_AUTH_INSECURE="1", **variables)
    replace(files.users, b"broken\n")
    await until(lambda: reloads(running, "auth", "error"))
    assert not (await running.server.readiness.check())["auth"].is_ok


async def test_files_are_read_beside_the_event_loop(start, files, monkeypatch):
    running = await start(**files.variables)
    gate, threads = threading.Event(), []
    read = running.server.services.authenticator.reload

    def slow():
        threads.append(threading.current_thread())
        assert gate.wait(PATIENCE)
        return read()

    monkeypatch.setattr(running.server.services.authenticator, "reload", slow)
    reload = asyncio.create_task(running.server.reload())
    await until(lambda: threads)
    wire = await secured(running)
    assert await wire.ask(plain("old")) == [235]
    gate.set()
    await reload
    assert threads[0] is not threading.main_thread()


async def test_a_reading_that_does_not_end_is_told_and_holds_nothing(start, files, monkeypatch):
    monkeypatch.setattr(renewal, "SLOW_READ_SECONDS", 0.05)
    running = await start(**files.variables)
    gate = threading.Event()
    poll = running.server.services.certificates.poll
    monkeypatch.setattr(
        running.server.services.certificates, "poll", lambda: (gate.wait(PATIENCE), poll())[1]
    )
    await until(lambda: reloads(running, "tls", "error"))
    checks = await running.server.readiness.check()
    assert checks["tls"] == (False, "reading has not ended after 0.05 seconds")
    files.allow("new")
    await until(lambda: reloads(running, "auth", "ok"))
    await running.server.reload()
    # Also the users may take longer than that, on a machine that is busy.
    told = [one["reason"] for one in running.logged("not reloaded") if one["what"] == "tls"]
    assert told == ["reading has not ended after 0.05 seconds"] * 2
    monkeypatch.setattr(renewal, "SLOW_READ_SECONDS", PATIENCE)
    new = files.issue()
    gate.set()
    await until(lambda: reloads(running, "tls", "ok"))
    assert served(await secured(running)) == new
    assert (await running.server.readiness.check())["tls"].is_ok


async def test_a_defect_does_not_end_the_looking(start, files, monkeypatch):
    running = await start(**files.variables)
    with monkeypatch.context() as patch:
        patch.setattr(running.server.services.certificates, "poll", lambda: 1 / 0)
        await until(lambda: reloads(running, "tls", "error"))
    files.issue()
    await until(lambda: reloads(running, "tls", "ok"))
    assert any("ZeroDivisionError" in one["reason"] for one in running.logged("unexpected error"))


async def test_rotation_under_load_loses_no_session(start, files):
    """Senders go on while the pair is replaced again and again: every message, every session."""
    running = await start(SMTP_TLS_PORT="0", SMTP_MAX_CONNECTIONS="1000", **files.variables)
    port = int(running.bound.smtps.rpartition(":")[2])
    seen, sent, is_over = set(), 0, asyncio.Event()

    async def one_session(is_implicit):
        nonlocal sent
        if is_implicit:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=client_context(), limit=1 << 20
            )
            wire = Wire(reader, writer)
            assert (await wire.reply()).startswith(b"220 ")
            assert await wire.ask(b"EHLO c.test\r\n") == [250]
        else:
            wire = await secured(running)
        seen.add(served(wire))
        for _ in range(3):
            assert await wire.ask(START + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]
            sent += 1
        assert await wire.ask(b"QUIT\r\n") == [221]
        wire.close()

    async def sender(number):
        while not is_over.is_set():
            await one_session(number % 2 == 0)

    senders = [asyncio.create_task(sender(number)) for number in range(6)]
    for number in range(5):
        new = files.issue()
        if number % 2:
            await running.server.reload()
        await until(lambda new=new: new in seen)
        before = sent
        await until(lambda before=before: sent > before + 12)
    is_over.set()
    await asyncio.gather(*senders)
    assert len(running.messages) == sent
    assert len(seen) >= 5
    assert (
        reloads(running, "tls", "error") <= 5
    )  # a new certificate met its old key: the old pair stayed
    ends = running.server.metrics.series()["smtp_session_duration_seconds"].histograms
    assert sum(ends["error",].counts) == 0
    assert (await running.server.readiness.check())["tls"].is_ok
