"""AUTH over real sockets: who gets in, who is slowed, and that no log holds a secret."""

import asyncio
import io
from base64 import b64decode, b64encode

import pytest

from prixfixe.auth.authenticator import Verdict
from prixfixe.smtp.scram import make_keys
from prixfixe.telemetry.log import build_log
from prixfixe.verify.dialogue.scram import ScramClient
from tests.conftest import until
from tests.unit.test_auth import cheap_hash
from tests.unit.test_connection import START

SECRET = "sesame-open-9"
USERS = f"alice:{cheap_hash(SECRET)}\n"


@pytest.fixture
async def serve(start, tmp_path):
    """Start a server that asks for a login in clear, and whose delays are counted, not waited."""
    (tmp_path / "users").write_text(USERS)

    async def serve(**variables):
        running = await start(
            **{
                "SMTP_AUTH": "optional",
                "SMTP_AUTH_INSECURE": "1",
                "SMTP_AUTH_USERS": str(tmp_path / "users"),
                **variables,
            }
        )
        running.delays = []

        async def sleep(seconds):
            running.delays.append(seconds)
            await asyncio.sleep(0)

        running.server.services.authenticator._sleep = sleep
        return running

    return serve


def attempts(running, result):
    counts = running.server.metrics.series()["auth_attempts"].counts
    return sum(count for (_, verdict), count in counts.items() if verdict == result)


def plain(user, password):
    return b"AUTH PLAIN " + b64encode(b"\0".join((b"", user, password))) + b"\r\n"


async def test_fifty_wrong_passwords_from_one_address_never_reach_fifty_checks(serve):
    running = await serve()
    answers = []
    while len(answers) < 50:
        wire = await running.say_hello()
        for _ in range(5):
            await wire.send(plain(b"alice", b"wrong%d" % len(answers)))
            answers.append((await wire.reply())[:3])
            if answers[-1] == b"421":
                break
        wire.close()
    checked = attempts(running, "rejected")
    assert checked == 15
    assert attempts(running, "blocked") > 0
    assert running.delays[:6] == [0, 0, 0, 1, 2, 4]
    # Not even the right password is heard now, from this address.
    wire = await running.say_hello()
    await wire.send(plain(b"alice", SECRET.encode()))
    assert (await wire.rest()).startswith(b"421 4.7.0 Too many failed logins")


async def test_five_failures_end_the_session(serve):
    running = await serve()
    wire = await running.say_hello()
    for _ in range(5):
        assert await wire.ask(plain(b"nobody", b"x")) == [535]
    assert (await wire.rest()).startswith(b"421 4.7.0")


async def test_a_login_for_every_message_is_checked_once(serve):
    running = await serve(SMTP_AUTH="required")
    for _ in range(10):
        wire = await running.say_hello()
        assert await wire.ask(b"MAIL FROM:<a@x.test>\r\n") == [530]
        assert await wire.ask(plain(b"alice", SECRET.encode())) == [235]
        assert await wire.ask(START + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]
        assert await wire.ask(b"QUIT\r\n") == [221]
    envelope = running.messages[0].envelope
    assert (envelope.user, envelope.protocol) == ("alice", "ESMTPA")
    assert len(running.server.services.authenticator._users.verified) == 1


async def test_any_takes_every_login(start):
    running = await start(SMTP_AUTH="any", SMTP_AUTH_INSECURE="1")
    wire = await running.say_hello()
    assert await wire.ask(b"AUTH LOGIN\r\n") == [334]
    assert await wire.ask(b64encode(b"whoever") + b"\r\n") == [334]
    assert await wire.ask(b64encode(b"whatever") + b"\r\n") == [235]
    assert await wire.ask(START + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]
    assert running.messages[0].envelope.user == "whoever"


async def test_a_full_queue_is_a_temporary_answer(serve, monkeypatch):
    running = await serve()

    async def busy(*_args, **_options):
        return Verdict.UNAVAILABLE

    monkeypatch.setattr(running.server.services.authenticator, "verify", busy)
    wire = await running.say_hello()
    assert await wire.ask(plain(b"alice", SECRET.encode())) == [454]
    assert await wire.ask(b"NOOP\r\n") == [250]


async def test_a_defect_in_the_check_ends_the_session_and_nothing_else(serve, monkeypatch):
    running = await serve()

    async def broken(_user, password, **_options):
        password.decode()

    monkeypatch.setattr(running.server.services.authenticator, "verify", broken)
    wire = await running.say_hello()
    await wire.send(plain(b"alice", b"\xff" + SECRET.encode()))
    assert (await wire.rest()).startswith(b"421 4.3.0 Internal trouble")
    assert any("UnicodeDecodeError" in line for line in running.records())
    assert not any(SECRET in line for line in running.records())
    await running.say_hello()


async def test_a_client_that_leaves_during_a_check_leaves_nothing_behind(serve):
    running = await serve()
    wire = await running.say_hello()
    await wire.send(plain(b"alice", b"wrong"))
    wire.close()
    await until(lambda: not running.server.roster.connections)
    await until(lambda: attempts(running, "rejected") or not running.server.roster.connections)
    assert not any("unexpected" in line for line in running.records())


async def test_by_scram_a_blocked_network_is_not_heard_with_the_right_proof(serve, tmp_path):
    (tmp_path / "users").write_text(f"alice:{make_keys(SECRET)}\n")
    running = await serve()
    wire = await running.say_hello()
    client = ScramClient("alice", SECRET)
    final = client.final(await challenged(wire, b"AUTH SCRAM-SHA-256 ", client.first))
    for _ in range(15):
        running.server.services.authenticator._throttle.failed("127.0.0.1")
    await wire.send(b64encode(final) + b"\r\n")
    assert (await wire.rest()).startswith(b"421 4.7.0 Too many failed logins")
    assert attempts(running, "blocked") == 1


async def test_a_locked_out_network_is_logged_and_the_known_login_goes_on(start, tmp_path):
    (tmp_path / "users").write_text(f"alice:{make_keys(SECRET)}\n")
    running = await start(
        SMTP_AUTH="optional",
        SMTP_AUTH_INSECURE="1",
        SMTP_AUTH_USERS=str(tmp_path / "users"),
        SMTP_AUTH_MAX_FAILURES="2",
        SMTP_AUTH_LOCKOUT_TIME="40",
    )
    good = plain(b"alice", SECRET.encode())
    for login, code in [(good, 235), *[(plain(b"bob", b"x"), 535)] * 2, (good, 235)]:
        wire = await running.say_hello()
        assert await wire.ask(login) == [code]
    assert await (await running.say_hello()).ask(plain(b"bob", b"x")) == [421]
    (record,) = running.logged("logins locked out")
    assert (record["network"], record["failures"], record["lockout"]) == ("127.0.0.1", 2, 40.0)


async def test_by_scram_a_known_login_is_heard_in_a_locked_out_network(serve, tmp_path):
    (tmp_path / "users").write_text(f"alice:{make_keys(SECRET)}\n")
    running = await serve()
    for code in (334, 334):
        wire = await running.say_hello()
        client = ScramClient("alice", SECRET)
        final = client.final(await challenged(wire, b"AUTH SCRAM-SHA-256 ", client.first))
        assert await wire.ask(b64encode(final) + b"\r\n") == [code]
        assert await wire.ask(b"\r\n") == [235]
        for _ in range(15):
            running.server.services.authenticator._throttle.failed("127.0.0.1")


async def test_by_scram_five_failures_end_the_session(serve, tmp_path):
    (tmp_path / "users").write_text(f"alice:{make_keys(SECRET)}\n")
    running = await serve()
    wire = await running.say_hello()
    for number in range(5):
        client = ScramClient("nobody" if number % 2 else "alice", "wrong")
        final = client.final(await challenged(wire, b"AUTH SCRAM-SHA-256 ", client.first))
        assert await wire.ask(b64encode(final) + b"\r\n") == [535]
    assert (await wire.rest()).startswith(b"421 4.7.0")
    assert running.logged("login refused")[0]["mechanism"] == "SCRAM-SHA-256"


async def challenged(wire, verb, octets):
    await wire.send(verb + b64encode(octets) + b"\r\n")
    reply = await wire.reply()
    assert reply.startswith(b"334 ")
    return b64decode(reply[4:])


# --- secrets


def spoken():
    """Yield conversations that hold the secret in every form a client may send it."""
    raw = SECRET.encode()
    coded = b64encode(raw)
    login = [b"AUTH LOGIN\r\n", b64encode(b"alice") + b"\r\n"]
    yield [plain(b"alice", raw)]
    yield [plain(b"alice", raw + b"wrong")]
    yield [plain(b"\xff\xfe", raw)]
    yield [b"AUTH PLAIN\r\n", b64encode(b"\0alice\0" + raw) + b"\r\n"]
    yield [b"AUTH PLAIN\r\n", b64encode(raw) + b"\r\n"]
    yield [*login, coded + b"\r\n"]
    yield [*login, b64encode(raw + b"\xff") + b"\r\n"]
    yield [*login, b"!" + coded + b"\r\n"]
    yield [*login, raw + b"\r\n"]
    yield [*login, b"*\r\n", coded + b"\r\n"]  # its client did not see the exchange end
    yield [b"AUTH CRAM-MD5\r\n", coded + b"\r\n"]
    yield [b"AUTH LOGIN " + b64encode(raw) + b"\r\n", b"*\r\n"]
    yield [b"AUTH PLAIN " + coded * 2000 + b"\r\n"]
    yield [b"AUTH PLAIN " + coded + b" " + coded + b"\r\n"]
    yield [b"RSET " + coded + b"\r\n"]
    yield [b"MAIL FROM:<a@x.test> AUTH=" + coded + b"\r\n"]


FORMS = (SECRET, b64encode(SECRET.encode()).decode().rstrip("="), SECRET.encode().hex())


def all_forms():
    """Return what must not appear: also the whole of its base64 at each offset."""
    forms = set(FORMS)
    for shift in range(3):
        text = b64encode(b"x" * shift + SECRET.encode()).decode()
        forms.add(text[4:-4] if shift else text[:-4])
    return forms


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("level", ["debug", "info", "warning"])
async def test_no_log_holds_a_secret(start, tmp_path, monkeypatch, form, level):
    (tmp_path / "users").write_text(USERS)
    texts = []

    def build(_level, _form, *, stream, **options):
        texts.append(stream)
        return build_log(level, form, stream=stream, **options)

    monkeypatch.setattr("tests.conftest.build_log", build)
    running = await start(
        SMTP_AUTH="optional", SMTP_AUTH_INSECURE="1", SMTP_AUTH_USERS=str(tmp_path / "users")
    )
    running.server._log.forward_libraries()
    running.server.services.authenticator._sleep = lambda _seconds: asyncio.sleep(0)
    running.server.services.authenticator._throttle.is_blocked = lambda _peer: False
    codes = []
    for words in spoken():
        wire = await running.say_hello()
        for word in words:
            codes += await wire.ask(word)
        await wire.send(b"QUIT\r\n")
        await wire.rest()
    assert {235, 334, 501, 504, 535} <= set(codes)
    await until(lambda: not running.server.roster.connections)
    running.server._log.flush()
    log = "".join(stream.getvalue() for stream in texts)
    assert (level == "warning") == ("session ended" not in log)
    assert not [one for one in all_forms() if one in log]
    await running.server.stop()


def test_the_forms_looked_for_are_what_base64_makes_of_it():
    for shift in range(3):
        text = b64encode(b"\0" * shift + SECRET.encode() + b"tail").decode()
        assert any(form in text for form in all_forms()), shift


async def test_log_of_the_process_has_no_secret_of_its_settings(tmp_path):
    stream = io.StringIO()
    log = build_log("debug", "json", stream=stream)
    log.unexpected(UnicodeDecodeError("utf-8", SECRET.encode() + b"\xff", 13, 14, "bad"))
    log.flush()
    assert "UnicodeDecodeError" in stream.getvalue()
    assert SECRET not in stream.getvalue()
