"""SMTP_HANDLER: a handler beside the store, what is refused at the start, and the examples."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import smtplib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from prixfixe.connection.hooks import HandlerError
from prixfixe.handlers import Controller, loading
from tests.conftest import PATIENCE
from tests.unit.test_connection import GatedStore, reset
from tests.unit.test_handlers import free_port

ROOT = Path(__file__).parents[2]
START = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n"
BODY = b"Subject: x\r\n\r\nhello\r\n.\r\n"


class Judge:
    """A handler of these tests; `answer` is what it says about a message."""

    answer: object = "250 fine by me"
    seen: list = []  # noqa: RUF012 - the server makes the object, the test reads the class

    async def handle_MAIL(self, server, session, envelope, address, options):
        if address == "stranger@x.test":
            return "451 4.7.1 come again"
        if address == "foe@x.test":
            return "550 5.7.1 go away"
        envelope.mail_from = address
        return "250 welcome"

    async def handle_DATA(self, server, session, envelope):
        type(self).seen.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        answer = type(self).answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            return "250 at last"
        return answer


class Checks:
    """A handler that wants to check logins."""

    async def handle_AUTH(self, server, session, envelope, words):
        return "235 OK"

    async def auth_TOKEN(self, server, words):
        return "x"


class NeedsWords:
    def __init__(self, words):
        self.words = words


class OddEhlo:
    async def handle_EHLO(self, server):
        return []


class Secure:
    def handle_STARTTLS(self, server, session, envelope):
        if session.ssl is None:
            raise ValueError("no TLS")
        return False


class Balanced:
    async def handle_PROXY(self, server, session, envelope, proxy_data):
        return str(proxy_data.src_addr) != "192.0.2.9"


@pytest.fixture
def judge():
    Judge.seen, Judge.answer = [], "250 fine by me"
    return Judge


def name_of(kind):
    return f"{kind.__module__}:{kind.__qualname__}"


async def test_a_message_is_stored_when_the_handler_takes_it(start, judge):
    running = await start(SMTP_HANDLER=name_of(Judge))
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send(BODY)
    assert b"250 2.0.0 OK queued as " in await wire.reply()
    assert judge.seen == [("a@x.test", ["b@y.test"], b"Subject: x\r\n\r\nhello\r\n")]
    assert [one.body for one in running.messages] == [b"Subject: x\r\n\r\nhello\r\n"]
    (record,) = running.logged("handler in use")
    assert record["hooks"] == "handle_DATA handle_MAIL"


@pytest.mark.parametrize(
    ("answer", "told", "result"),
    [
        ("550 5.7.1 no", b"550 5.7.1 no\r\n", "rejected"),
        ("452 4.2.2 full", b"452 4.2.2 full\r\n", "deferred"),
        ("fine\r\n250 smuggled", b"451 4.3.0 Internal trouble, try again later\r\n", "deferred"),
    ],
)
async def test_a_message_is_not_stored_when_the_handler_refuses_it(
    start, judge, answer, told, result
):
    running = await start(SMTP_HANDLER=name_of(Judge))
    judge.answer = answer
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send(BODY)
    assert await wire.reply() == told
    assert running.messages == []
    if answer[0] in "45":
        (record,) = running.logged("message refused")
        assert (record["reason"], record["recipient"]) == ("handler", "b@y.test")
        counts = running.server.metrics.series()["messages"].counts
        assert counts["smtp", result, "handler"] == 1
    else:
        assert running.logged("handler reply refused")


async def test_a_refused_sender_is_counted_and_the_next_is_taken(start):
    running = await start(SMTP_HANDLER=name_of(Judge))
    wire = await running.say_hello()
    for sender, code in (("stranger", 451), ("foe", 550), ("friend", 250)):
        assert await wire.ask(b"MAIL FROM:<%b@x.test>\r\n" % sender.encode()) == [code]
    counts = running.server.metrics.series()["messages"].counts
    assert counts["smtp", "deferred", "handler"] == 1
    assert counts["smtp", "rejected", "handler"] == 1


async def test_a_store_that_fails_after_the_handler_took_it_is_a_451(start, judge):
    store = GatedStore()
    running = await start(store, SMTP_HANDLER=name_of(Judge))
    store.error = OSError("disk")
    store.gate.set()
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    assert await wire.ask(BODY) == [451]
    assert len(judge.seen) == 1


async def test_commands_behind_a_waiting_hook_wait_and_others_do_not(start, judge):
    judge.answer = asyncio.Event()
    running = await start(SMTP_HANDLER=name_of(Judge))
    wire, other = await running.say_hello(), await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send(BODY + b"NOOP\r\nQUIT\r\n")
    assert await other.ask(START, 3) == [250, 250, 354]
    judge.answer.set()
    assert (await wire.reply())[:3] == b"250"
    assert (await wire.reply())[:3] == b"250"
    assert (await wire.reply())[:3] == b"221"


async def test_a_hook_that_hangs_is_given_up_after_the_time_of_the_store(start, judge):
    judge.answer = asyncio.Event()
    running = await start(SMTP_HANDLER=name_of(Judge), SMTP_STORE_TIMEOUT="0.2")
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send(BODY)
    assert await wire.reply() == b"451 4.3.0 No answer in time, try again later\r\n"
    assert await wire.ask(b"NOOP\r\n") == [250]
    (record,) = running.logged("handler gave no answer")
    assert (record["hook"], record["seconds"]) == ("handle_DATA", 0.2)
    assert running.messages == []


async def test_a_large_message_of_a_client_that_left_gives_its_memory_back(start, judge):
    judge.answer = asyncio.Event()
    running = await start(SMTP_HANDLER=name_of(Judge))
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send(b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 5000 + b".\r\n")
    async with asyncio.timeout(PATIENCE):
        while not judge.seen:
            await asyncio.sleep(0.01)
        assert running.server.budget.in_use > 0
        reset(wire)
        while running.server.budget.in_use:
            await asyncio.sleep(0.01)
    assert running.messages == []


async def test_a_tls_that_is_not_enough_refuses_all_but_quit(start, tmp_path):
    running = await start(
        SMTP_HANDLER=name_of(Secure), SMTP_TLS_CERT="self-signed", SMTP_TLS_PORT="0"
    )

    def talk():
        with smtplib.SMTP("127.0.0.1", running.port, timeout=PATIENCE) as client:
            client.ehlo("x")
            client.starttls()
            told = client.ehlo("x"), client.noop(), client.quit()
        return [code for code, _ in told]

    assert await asyncio.to_thread(talk) == [554, 554, 221]


async def test_a_proxy_header_is_told_to_the_handler(start):
    running = await start(SMTP_HANDLER=name_of(Balanced), SMTP_PROXY_PROTOCOL="127.0.0.0/8")
    for host, is_welcome in ((b"192.0.2.1", True), (b"192.0.2.9", False)):
        wire = await running.connect(greet=False)
        await wire.send(b"PROXY TCP4 %b 192.0.2.2 1 2\r\n" % host)
        octets = await wire.reply() if is_welcome else await wire.rest()
        assert octets.startswith(b"220") is is_welcome


# --- what is refused at the start


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("no.such.module:Handler", "ModuleNotFoundError"),
        (f"{__name__}:Nobody", "AttributeError"),
        ("os:sep", "a class, found str"),
        (f"{__name__}:NeedsWords", "made without arguments"),
        (f"{__name__}:OddEhlo", "Unsupported EHLO Hook"),
        (f"{__name__}:Checks", "no auth_TOKEN, handle_AUTH: SMTP_AUTH_USERS"),
    ],
)
async def test_a_handler_that_cannot_be_used_is_named(start, name, expected):
    with pytest.raises(HandlerError, match="SMTP_HANDLER=") as refused:
        await start(SMTP_HANDLER=name)
    assert name in str(refused.value)
    assert expected in str(refused.value)


def serve(**variables):
    environ = {name: text for name, text in os.environ.items() if name[:5] != "SMTP_"}
    fixed = {"SMTP_PORT": "0", "SMTP_HTTP_PORT": "off", "SMTP_STORE": "memory:"}
    return subprocess.run(
        [sys.executable, "-m", "prixfixe", "serve"],
        env={**environ, **fixed, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_the_process_exits_with_2():
    done = serve(SMTP_HANDLER="no.such.module:Handler")
    assert done.returncode == 2
    assert done.stderr.startswith("prixfixe: SMTP_HANDLER='no.such.module:Handler': expected ")


@contextlib.contextmanager
def as_nobody():
    """Be a user who owns nothing, as far as the kernel asks for the real one."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "mine.py").write_text("class Mine:\n    pass\n")
        (place / "mine.py").chmod(0o444)
        place.chmod(0o555)
        yield place
        place.chmod(0o755)


def test_a_folder_that_nobody_can_change_is_appended_to_the_path(folder, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    with as_nobody():
        loading._add_path(str(folder), "memory:")
    assert sys.path[-1] == str(folder.resolve())


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_folder_that_the_server_could_change_is_refused(folder, what):
    if what == "folder":
        folder.chmod(0o777)
    else:
        (folder / "mine.py").chmod(0o666)
    with as_nobody(), pytest.raises(HandlerError, match="is writable"):
        loading._add_path(str(folder), "memory:")


def test_a_folder_with_the_mail_is_refused(folder):
    for store in (
        f"sqlite:{folder}/mail.db",
        f"maildir:{folder.parent}",
        f"maildir:{folder}/mail",
    ):
        with pytest.raises(HandlerError, match="apart from the mail"):
            loading._add_path(str(folder), store)
    with pytest.raises(HandlerError, match="expected a folder"):
        loading._add_path(str(folder / "mine.py"), "memory:")


def test_a_folder_with_too_much_in_it_is_refused(folder, monkeypatch):
    monkeypatch.setattr(loading, "_MAX_ENTRIES", 1)
    with as_nobody(), pytest.raises(HandlerError, match="at most 1 entries"):
        loading._add_path(str(folder), "memory:")


def test_without_a_handler_aiosmtpd_is_not_imported():
    code = "import sys, prixfixe.server.process; print('aiosmtpd' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# --- the examples


def example(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def client_of(handler):
    controller = Controller(handler, hostname="127.0.0.1", port=free_port(), ready_timeout=60)
    controller.start()
    try:
        with smtplib.SMTP("127.0.0.1", controller.port, timeout=PATIENCE) as client:
            yield client
    finally:
        controller.stop()


def test_the_simplest_server_prints_who_wrote_to_whom():
    port = free_port()
    text = (ROOT / "examples" / "simplest.py").read_text().replace("8025", str(port))
    assert len([line for line in text.splitlines() if line and line[:3] != '"""']) <= 10
    with subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert "Listening" in server.stdout.readline()
        with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client:
            client.sendmail("a@x.test", ["b@y.test", "c@y.test"], "hi")
        assert server.stdout.readline() == "a@x.test -> b@y.test, c@y.test\n"
        server.communicate("\n", timeout=PATIENCE)
    assert server.returncode == 0


def test_the_policy_refuses_and_puts_off():
    policy = example("policy").Policy()
    with client_of(policy) as client:
        client.ehlo("x")
        client.mail("a@x.test")
        assert client.rcpt("Closed@example.com")[0] == 550
        assert client.rcpt("b@y.test")[0] == 451
        policy.wait_seconds = 0.0
        assert client.rcpt("b@y.test")[0] == 250
        assert client.data("hi")[0] == 250


async def test_the_filer_files_beside_the_store(start, tmp_path, monkeypatch):
    monkeypatch.setenv("FILER_FOLDER", str(tmp_path / "filed"))
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    running = await start(SMTP_HANDLER="filer:Filer")
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    assert await wire.ask(BODY) == [250]
    (filed,) = (tmp_path / "filed" / "b@y.test").iterdir()
    assert filed.read_bytes() == b"Subject: x\r\n\r\nhello\r\n"
    assert len(running.messages) == 1
