"""aiosmtpd's handlers on this engine: hooks, objects, replies, failures, and controllers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import smtplib
import socket
import threading
import time
from base64 import b64encode

import pytest
from aiosmtpd import handlers as stock
from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, LoginPassword, Session

from prixfixe.handlers import (
    Controller,
    UnixSocketController,
    UnixSocketUnthreadedController,
    UnsupportedError,
    UnthreadedController,
)
from prixfixe.handlers.reply_check import UnfitReply, reply_of

MAIL = "Subject: hello\r\n\r\nHello.\r\n"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def serving(handler, **settings):
    """Serve a handler; yield the controller."""
    settings.setdefault("ready_timeout", 60)
    controller = Controller(handler, hostname="127.0.0.1", port=free_port(), **settings)
    controller.start()
    try:
        yield controller
    finally:
        controller.stop()


@contextlib.contextmanager
def talking(handler, **settings):
    """Serve a handler; yield a client that has said EHLO."""
    with (
        serving(handler, **settings) as controller,
        smtplib.SMTP(controller.hostname, controller.port, timeout=60) as client,
    ):
        client.ehlo("client.example")
        yield client


class Recorder:
    """Every hook of a transaction, recorded."""

    def __init__(self):
        self.calls = []

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        self.calls.append(("EHLO", hostname, isinstance(session, Session)))
        session.host_name = hostname
        return [*responses[:-1], "250-X-RECORDED", responses[-1]]

    async def handle_HELO(self, server, session, envelope, hostname):
        session.host_name = hostname
        return f"250 {server.hostname}"

    async def handle_MAIL(self, server, session, envelope, address, options):
        self.calls.append(("MAIL", address, options))
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 sender taken"

    async def handle_RCPT(self, server, session, envelope, address, options):
        await asyncio.sleep(0)
        if address.startswith("nobody@"):
            return "550 5.1.1 nobody of that name"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    def handle_NOOP(self, server, session, envelope, argument):  # a plain function will do
        self.calls.append(("NOOP", argument))
        return "250 nothing done"

    async def handle_VRFY(self, server, session, envelope, address):
        return f"252 {address}"

    async def handle_RSET(self, server, session, envelope):
        return MISSING

    async def handle_QUIT(self, server, session, envelope):
        return "221 until next time"

    async def handle_DATA(self, server, session, envelope):
        assert isinstance(envelope, Envelope)
        assert isinstance(server, SMTP)
        self.calls.append(("DATA", session.host_name, envelope))
        return "250 Message accepted for delivery"


def test_every_hook_of_a_transaction_is_called_with_aiosmtpds_objects():
    handler = Recorder()
    with talking(handler) as client:
        assert "x-recorded" in client.esmtp_features
        assert client.mail("a@example.com", ["SIZE=30", "body=8bitmime"]) == (250, b"sender taken")
        assert client.rcpt("nobody@example.com") == (550, b"5.1.1 nobody of that name")
        assert client.rcpt("b@example.com", ["NOTIFY=never"])[0] == 250
        assert client.data(MAIL) == (250, b"Message accepted for delivery")
        assert client.docmd("NOOP", "x") == (250, b"nothing done")
        assert client.noop() == (250, b"nothing done")
        assert client.verify("c@example.com") == (252, b"c@example.com")
        assert client.rset() == (250, b"2.0.0 OK")
        assert client.helo("other.example")[0] == 250
        assert client.quit() == (221, b"until next time")
    assert handler.calls[:2] == [
        ("EHLO", "client.example", True),
        ("MAIL", "a@example.com", ["SIZE=30", "BODY=8BITMIME"]),
    ]
    name, host, envelope = handler.calls[2]
    assert (name, host) == ("DATA", "client.example")
    assert (envelope.mail_from, envelope.rcpt_tos) == ("a@example.com", ["b@example.com"])
    assert envelope.mail_options == ["SIZE=30", "BODY=8BITMIME"]
    assert envelope.rcpt_options == ["NOTIFY=NEVER"]
    assert envelope.content == envelope.original_content == MAIL.encode()
    assert handler.calls[3:] == [("NOOP", "x"), ("NOOP", None)]


class OnlyData:
    """The hook that nearly every handler has, and no other."""

    def __init__(self):
        self.box = []

    async def handle_DATA(self, server, session, envelope):
        self.box.append((session, envelope))
        return "250 OK"


def test_what_no_hook_touches_is_filled_from_the_session():
    handler = OnlyData()
    with talking(handler) as client:
        client.sendmail("", ["b@example.com", "c@example.com"], MAIL)
        client.sendmail("ü@example.com", ["ä@example.com"], MAIL.encode(), ["SMTPUTF8"])
    (session, first), (_, second) = handler.box
    assert session.peer[0] == "127.0.0.1"
    assert session.host_name == "client.example"
    assert session.extended_smtp is True
    assert (first.mail_from, first.rcpt_tos) == ("<>", ["b@example.com", "c@example.com"])
    assert (second.mail_from, second.smtp_utf8) == ("ü@example.com", True)
    assert second is not first


def test_a_verb_without_a_hook_asks_nobody():
    with serving(OnlyData()) as controller:
        smtplib.SMTP(controller.hostname, controller.port).quit()
        session = controller.smtpd._conversation._connection.session
    from prixfixe.smtp.commands import VERBS

    asked = {name for name, verb in session._verbs.items() if verb != VERBS[name]}
    assert asked == {b"AUTH", b"MAIL", b"RCPT"}  # logins and the limit of local parts


class Decoded(OnlyData):
    pass


def test_content_is_decoded_where_that_is_asked_for():
    handler = Decoded()
    with talking(handler, decode_data=True) as client:
        client.sendmail("a@example.com", ["b@example.com"], "é\r\n".encode())
    assert handler.box[0][1].content == "é\r\n"
    with talking(handler, decode_data=True, enable_SMTPUTF8=False) as client:
        assert not client.has_extn("smtputf8")
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail("a@example.com", ["b@example.com"], "é\r\n".encode())
    assert refused.value.smtp_code == 500


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("250 fine", (250, b"fine")),
        ("250", (250, b"")),
        ("421 4.3.2 later", (421, b"4.3.2 later")),
        ("499 odd", (499, b"odd")),
        ("550 " + "x" * 900, (550, b"x" * 506)),
        ("250 fine\r\n550 smuggled", (451, b"4.3.0 Internal trouble, try again later")),
        ("250 tab\tis text", (250, b"tab\tis text")),
        ("250 nul\0", (451, b"4.3.0 Internal trouble, try again later")),
        ("354 go on", (451, b"4.3.0 Internal trouble, try again later")),
        ("221 bye", (451, b"4.3.0 Internal trouble, try again later")),
        ("fine", (451, b"4.3.0 Internal trouble, try again later")),
        ("999 what", (451, b"4.3.0 Internal trouble, try again later")),
        (None, (451, b"4.3.0 Internal trouble, try again later")),
        (250, (451, b"4.3.0 Internal trouble, try again later")),
        ("250 grün", (250, b"gr?n")),
        (b"250 octets", (250, b"octets")),
    ],
)
def test_a_reply_is_checked_before_it_is_sent(answer, expected, caplog):
    class Says:
        async def handle_DATA(self, server, session, envelope):
            return answer

    with talking(Says()) as client:
        client.mail("a@example.com")
        client.rcpt("b@example.com")
        assert client.data(MAIL) == expected
        if expected[0] != 421:
            assert client.noop()[0] == 250
    assert ("handler reply refused" in caplog.text) is (expected[0] == 451)


def test_a_421_of_a_handler_closes_the_connection():
    class Busy:
        async def handle_RCPT(self, server, session, envelope, address, options):
            return "421 4.3.2 not now"

    with talking(Busy()) as client:
        client.mail("a@example.com")
        assert client.rcpt("b@example.com") == (421, b"4.3.2 not now")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.noop()


@pytest.mark.parametrize("verb", ["EHLO", "HELO", "MAIL", "RCPT", "NOOP", "RSET", "VRFY"])
def test_a_refusal_undoes_the_command(verb):
    async def refuse(server, session, envelope, *arguments):
        return ["450 4.7.0 no"] if verb == "EHLO" else "450 4.7.0 no"

    async def refuse_ehlo(server, session, envelope, hostname, responses):
        return ["450 4.7.0 no"]

    handler = type("Refusing", (), {})()
    setattr(handler, f"handle_{verb}", refuse_ehlo if verb == "EHLO" else refuse)
    with (
        serving(handler) as controller,
        smtplib.SMTP(controller.hostname, controller.port, timeout=60) as client,
    ):
        if verb in ("EHLO", "HELO"):
            assert client.docmd(verb, "x") == (450, b"4.7.0 no")
            assert client.mail("a@example.com")[0] == 503
            return
        client.ehlo("x")
        mail, rcpt = client.docmd("MAIL FROM:<a@b.c>"), client.docmd("RCPT TO:<d@e.f>")
        assert (mail[0], rcpt[0]) == {"MAIL": (450, 503), "RCPT": (250, 450)}.get(verb, (250, 250))
        data = client.docmd("DATA")[0]
        assert data == (503 if verb in ("MAIL", "RCPT") else 354)
        if data == 354:
            assert client.docmd(".")[0] == 250


class Failing:
    """A handler with a defect."""

    async def handle_DATA(self, server, session, envelope):
        raise ValueError("a secret of the handler")


def test_an_exception_is_told_as_451_and_logged_with_its_trace(caplog):
    with talking(Failing()) as client:
        client.mail("a@example.com")
        client.rcpt("b@example.com")
        assert client.data(MAIL) == (451, b"4.3.0 Internal trouble, try again later")
        assert client.noop()[0] == 250
    assert "handler failed" in caplog.text
    assert "hook=handle_DATA" in caplog.text
    assert "a secret of the handler" in caplog.text
    assert "Traceback" in caplog.text


def test_handle_exception_chooses_the_reply(caplog):
    class Careful(Failing):
        answer = "471 4.0.0 mended soon"

        async def handle_exception(self, error):
            self.error = error
            return self.answer

    handler = Careful()
    with talking(handler) as client:
        client.mail("a@example.com")
        client.rcpt("b@example.com")
        assert client.data(MAIL) == (471, b"4.0.0 mended soon")
        handler.answer = "250 all is well"  # it may say so: it knows
        client.mail("a@example.com")
        client.rcpt("b@example.com")
        assert client.data(MAIL)[0] == 250
    assert isinstance(handler.error, ValueError)

    class Worse(Failing):
        async def handle_exception(self, error):
            raise KeyError("worse")

    with talking(Worse()) as client:
        client.mail("a@example.com")
        client.rcpt("b@example.com")
        assert client.data(MAIL)[0] == 451
    assert "hook=handle_exception" in caplog.text


def test_a_reset_raised_by_a_handler_closes_the_connection():
    class Resets:
        async def handle_DATA(self, server, session, envelope):
            raise ConnectionResetError

    with talking(Resets()) as client:
        client.mail("a@example.com")
        client.rcpt("b@example.com")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.data(MAIL)


class Waiting:
    """A handler whose DATA hook waits until it is let go."""

    def __init__(self):
        self.is_waiting = threading.Event()
        self.was_cancelled = threading.Event()
        self.go = None

    async def handle_DATA(self, server, session, envelope):
        self.go = asyncio.Event()
        self.is_waiting.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise
        return "250 at last"


def test_a_hook_that_waits_holds_up_no_other_session():
    handler = Waiting()
    with serving(handler) as controller, smtplib.SMTP(controller.hostname, controller.port) as one:
        one.ehlo("x")
        one.mail("a@example.com")
        one.rcpt("b@example.com")
        one.docmd("DATA")
        one.send(f"{MAIL}.\r\n")
        assert handler.is_waiting.wait(60)
        with smtplib.SMTP(controller.hostname, controller.port, timeout=60) as other:
            assert other.ehlo("y")[0] == 250
            assert other.noop()[0] == 250
        controller.loop.call_soon_threadsafe(handler.go.set)
        assert one.getreply() == (250, b"at last")


def test_a_hook_that_hangs_is_given_up(caplog):
    handler = Waiting()
    with talking(handler, timeout=0.3) as client:
        client.mail("a@example.com")
        client.rcpt("b@example.com")
        assert client.data(MAIL) == (451, b"4.3.0 No answer in time, try again later")
        assert handler.was_cancelled.wait(60)
    assert "handler gave no answer" in caplog.text


def test_a_hook_ends_when_its_client_leaves():
    handler = Waiting()
    with serving(handler) as controller:
        client = smtplib.SMTP(controller.hostname, controller.port)
        client.ehlo("x")
        client.mail("a@example.com")
        client.rcpt("b@example.com")
        client.docmd("DATA")
        client.send(f"{MAIL}.\r\n")
        assert handler.is_waiting.wait(60)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert handler.was_cancelled.wait(60)


def test_a_hook_that_blocks_the_loop_is_told(caplog):
    class Blocks:
        async def handle_DATA(self, server, session, envelope):
            await asyncio.sleep(0)
            time.sleep(0.3)  # the defect itself, not a wait
            return "250 OK"

    with talking(Blocks()) as client:
        client.sendmail("a@example.com", ["b@example.com"], MAIL)
    assert "handler blocked the loop" in caplog.text
    assert "hook=handle_DATA" in caplog.text


# --- deprecated forms


def test_the_old_hook_of_ehlo_adds_the_last_line():
    class Old:
        async def handle_EHLO(self, server, session, envelope, hostname):
            session.host_name = hostname
            await server.push("250-X-OLD")
            return "250 HELP"

    with pytest.warns(DeprecationWarning, match="4-argument"), talking(Old()) as client:
        assert client.has_extn("x-old")
        assert client.has_extn("size")
        client.sendmail("a@example.com", ["b@example.com"], MAIL)


@pytest.mark.parametrize("is_async", [False, True])
def test_process_message_is_called_where_there_is_no_handle_data(is_async):
    got = []

    class Old:
        def process_message(self, *arguments):
            got.append(arguments)
            return None if len(got) == 1 else "554 5.0.0 enough"

    class OldAsync(Old):
        async def process_message(self, *arguments):
            return super().process_message(*arguments)

    with pytest.warns(DeprecationWarning, match="process_message"):
        with talking(OldAsync() if is_async else Old()) as client:
            client.sendmail("a@example.com", ["b@example.com"], MAIL)
            with pytest.raises(smtplib.SMTPDataError):
                client.sendmail("a@example.com", ["b@example.com"], MAIL)
    assert got[0][1:] == ("a@example.com", ["b@example.com"], MAIL.encode())


# --- aiosmtpd's own handlers


def test_the_handlers_of_aiosmtpd_run(tmp_path, capsys):
    box = stock.Mailbox(tmp_path / "box")
    with serving(box) as upstream, talking(stock.Proxy("127.0.0.1", upstream.port)) as client:
        client.sendmail("a@example.com", ["b@example.com"], MAIL)
    (kept,) = box.mailbox
    assert kept["X-RcptTo"] == "b@example.com"
    assert kept["X-Peer"] == "127.0.0.1" or "127.0.0.1" in kept.get_all("X-Peer")[0]
    with talking(stock.Debugging()) as client:
        client.sendmail("a@example.com", ["b@example.com"], MAIL)
    assert "Subject: hello" in capsys.readouterr().out
    with talking(stock.Sink()) as client:
        assert client.sendmail("a@example.com", ["b@example.com"], MAIL) == {}


# --- logins


def sasl(text: bytes) -> str:
    return b64encode(text).decode()


class Logins(OnlyData):
    def authenticator(self, server, session, envelope, mechanism, data):
        assert isinstance(data, LoginPassword)
        if data.password == b"odd":
            return AuthResult(success=False, handled=False, message="454 4.7.0 later")
        return AuthResult(success=data.password == b"right", handled=False, auth_data=data)

    async def auth_COUNT(self, server, words):
        first = await server.challenge_auth("one")
        second = MISSING if first is MISSING else await server.challenge_auth(b"two")
        if second is MISSING:
            return AuthResult(success=False)
        return AuthResult(success=second == b"2", handled=False, auth_data=first)

    async def auth_TOKEN(self, server, words):
        return words[1] if len(words) == 2 else False

    async def auth_TOLD(self, server, words):
        await server.push("235 2.7.0 told by hand")


def login_client(handler):
    return talking(handler, authenticator=handler.authenticator, auth_require_tls=False)


def test_an_authenticator_decides_about_logins():
    handler = Logins()
    with login_client(handler) as client:
        assert client.docmd("AUTH PLAIN", sasl(b"\0user\0wrong"))[0] == 535
        assert client.docmd("AUTH PLAIN", sasl(b"\0user\0odd")) == (454, b"4.7.0 later")
        assert client.docmd("AUTH PLAIN", "not base64")[0] == 501
        assert client.docmd("AUTH LOGIN")[0] == 334
        assert client.docmd(sasl(b"user"))[0] == 334
        assert client.docmd(sasl(b"right"))[0] == 235
        assert client.docmd("AUTH PLAIN", sasl(b"\0user\0right"))[0] == 503
        client.sendmail("a@example.com", ["b@example.com"], MAIL)
    session, _ = handler.box[0]
    assert session.authenticated is True
    assert session.auth_data == LoginPassword(b"user", b"right")


def test_a_mechanism_of_the_handlers_challenges_the_client():
    with login_client(Logins()) as client:
        assert set(client.esmtp_features["auth"].split()) == {
            *("COUNT", "LOGIN", "PLAIN", "TOKEN", "TOLD"),
        }
        assert client.docmd("AUTH COUNT") == (334, sasl(b"one").encode())
        assert client.docmd(sasl(b"1")) == (334, sasl(b"two").encode())
        assert client.docmd(sasl(b"3"))[0] == 535
        assert client.docmd("AUTH COUNT")[0] == 334
        assert client.docmd("*")[0] == 501
        assert client.docmd("AUTH COUNT")[0] == 334
        assert client.docmd("no base64!")[0] == 501
        assert client.docmd("AUTH NONE")[0] == 504
        assert client.docmd("AUTH")[0] == 501
        assert client.docmd("AUTH TOKEN")[0] == 535
        assert client.docmd("AUTH TOLD") == (235, b"2.7.0 told by hand")
        assert client.noop()[0] == 250


def test_a_callback_decides_and_mail_may_need_a_login():
    def callback(mechanism, login, password):
        return (mechanism, login, password) == ("PLAIN", b"user", b"right")

    with (
        pytest.warns(UserWarning, match="Requiring AUTH"),
        talking(
            OnlyData(), auth_callback=callback, auth_required=True, auth_require_tls=False
        ) as client,
    ):
        assert client.mail("a@example.com")[0] == 530
        assert client.docmd("AUTH PLAIN", sasl(b"\0user\0right"))[0] == 235
        assert client.mail("a@example.com")[0] == 250


def test_handle_auth_comes_first():
    class Own(OnlyData):
        async def handle_AUTH(self, server, session, envelope, words):
            return "235 2.7.0 fine" if words == ["PLAIN", "x"] else MISSING

    with talking(Own(), auth_require_tls=False) as client:
        assert client.docmd("AUTH PLAIN", sasl(b"\0user\0any"))[0] == 535
        assert client.docmd("AUTH PLAIN x") == (235, b"2.7.0 fine")


# --- PROXY


class Proxied(OnlyData):
    def __init__(self):
        super().__init__()
        self.is_welcome = True
        self.seen = []

    async def handle_PROXY(self, server, session, envelope, proxy_data):
        self.seen.append((proxy_data.src_addr, session.proxy_data is proxy_data))
        return self.is_welcome


def test_a_proxy_header_is_given_to_the_handler():
    handler = Proxied()
    with serving(handler, proxy_protocol_timeout=5.0) as controller:
        for handler.is_welcome in (True, False):
            with socket.create_connection((controller.hostname, controller.port), 60) as one:
                one.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
                assert one.recv(100).startswith(b"220") is handler.is_welcome
    assert [str(address) for address, is_same in handler.seen if is_same] == ["192.0.2.1"] * 2
    with serving(OnlyData(), proxy_protocol_timeout=5.0) as controller:
        with socket.create_connection((controller.hostname, controller.port), 60) as one:
            one.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
            assert one.recv(100) == b""  # as in aiosmtpd: without the hook nobody is let in


# --- controllers


def test_the_settings_of_a_controller_are_those_of_aiosmtpd():
    with serving(
        stock.Sink(), server_hostname="mx.example", ident="Some Words", data_size_limit=1000
    ) as controller:
        client = smtplib.SMTP()
        assert client.connect(controller.hostname, controller.port) == (
            220,
            b"mx.example Some Words",
        )
        client.ehlo("x")
        assert client.esmtp_features["size"] == "1000"
        assert client.docmd("MAIL FROM:<a@b.c> SIZE=1001")[0] == 552
        client.close()
    with talking(stock.Sink(), data_size_limit=None) as client:
        assert "size" not in client.esmtp_features or not client.esmtp_features["size"]


def test_paths_are_read_as_aiosmtpd_reads_them():
    handler = OnlyData()
    with talking(handler) as client:
        assert client.docmd("MAIL FROM: a@example.com SIZE=5")[0] == 250
        assert client.docmd("RCPT TO: (comment)b@example.com")[0] == 250
        assert client.docmd("RCPT TO: <@example.com>")[0] == 553
        assert client.docmd("RCPT TO: " + "(" * 400)[0] == 553
        assert client.data(MAIL)[0] == 250
    assert handler.box[0][1].mail_from == "a@example.com"
    assert handler.box[0][1].rcpt_tos == ["b@example.com"]


def test_the_number_of_calls_of_a_command_can_be_limited():
    with talking(stock.Sink(), command_call_limit={"NOOP": 2, "*": 9}) as client:
        assert [client.noop()[0] for _ in range(3)] == [250, 250, 421]


def test_a_local_part_can_be_limited():
    class Short(Controller):
        def factory(self):
            made = SMTP(self.handler, hostname="mx.example")
            made.local_part_limit = 5
            return made

    controller = Short(stock.Sink(), hostname="127.0.0.1", port=free_port(), ready_timeout=60)
    controller.start()
    try:
        with smtplib.SMTP(controller.hostname, controller.port, timeout=60) as client:
            assert client.helo("x") == (250, b"mx.example")
            assert client.mail("12345@b.c")[0] == 250
            assert client.rcpt("123456@b.c")[0] == 553
            controller.smtpd.local_part_limit = 6
            assert client.rcpt("123456@b.c")[0] == 250
            assert controller.smtpd.local_part_limit == 6
    finally:
        controller.stop()


def test_what_is_not_offered_stops_the_start_and_is_named():
    class Louder(SMTP):
        async def smtp_NOOP(self, argument):
            await self.push("250 NOOP")

    class Wrong(Controller):
        made = None

        def factory(self):
            return self.made and self.made(self.handler)

    for made, error, text in (
        (Louder, UnsupportedError, "Louder.smtp_NOOP is not offered"),
        (None, RuntimeError, "returned None"),
        (lambda _handler: object(), TypeError, "expected an aiosmtpd"),
    ):
        controller = Wrong(stock.Sink(), hostname="127.0.0.1", port=free_port(), ready_timeout=60)
        controller.made = made
        with pytest.raises(error, match=text):
            controller.start()
        controller.stop()


def test_the_server_object_has_aiosmtpds_helpers_and_no_protocol():
    seen = {}

    class Looks(OnlyData):
        async def handle_NOOP(self, server, session, envelope, argument):
            server.note = "kept"
            seen["note"] = server.note
            seen["is_loop"] = server.loop is asyncio.get_running_loop()
            seen["facts"] = server.hostname, server.tls_context, server.event_handler is self
            seen["session"] = server.session is session and server.envelope is envelope
            seen["transport"] = server.transport.get_extra_info("peername") == session.peer
            seen["helo"] = await server.check_helo_needed()
            with pytest.raises(AttributeError, match="not offered"):
                server.smtp_NOOP("x")
            return "250 OK"

    handler = Looks()
    with talking(handler, server_hostname="mx.example") as client:
        assert client.noop()[0] == 250
    assert seen.pop("facts") == ("mx.example", None, True)
    assert seen.pop("helo") is False
    assert seen.pop("note") == "kept"
    assert set(seen.values()) == {True}


def test_a_line_pushed_outside_of_a_hook_is_sent_at_once():
    with serving(stock.Sink()) as controller:
        with smtplib.SMTP(controller.hostname, controller.port, timeout=60) as client:
            push = controller.smtpd.push("250 by the way")
            asyncio.run_coroutine_threadsafe(push, controller.loop).result(60)
            assert client.getreply() == (250, b"by the way")
            push = controller.smtpd.push("250 a\r\n250 b")
            with pytest.raises(UnfitReply):
                asyncio.run_coroutine_threadsafe(push, controller.loop).result(60)


def test_the_unix_socket_controllers_serve(tmp_path):
    path = tmp_path / "smtp"
    controller = UnixSocketController(stock.Sink(), path, ready_timeout=60)
    controller.start()
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(60)
            one.connect(str(path))
            assert one.recv(100).startswith(b"220 ")
    finally:
        controller.stop()


def test_the_unthreaded_controllers_serve(tmp_path):
    handler = OnlyData()
    port = free_port()

    def talk(connect):
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
            client.sendmail("a@example.com", ["b@example.com"], MAIL)

    for controller in (
        UnthreadedController(handler, hostname="127.0.0.1", port=port),
        UnixSocketUnthreadedController(handler, tmp_path / "smtp"),
    ):
        loop = controller.loop
        controller.begin()
        if isinstance(controller, UnthreadedController):
            loop.run_until_complete(loop.run_in_executor(None, talk, None))
        controller.end()
        assert controller.ended.is_set()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    assert len(handler.box) == 1


def test_a_stop_tells_idle_clients_421():
    with serving(stock.Sink()) as controller:
        client = smtplib.SMTP(controller.hostname, controller.port, timeout=60)
        client.ehlo("x")
    assert client.getreply()[0] == 421
    client.close()


# --- the check of replies by itself


@pytest.mark.parametrize(
    ("verb", "lines"),
    [
        ("EHLO", []),
        ("EHLO", ["250-a"]),
        ("EHLO", ["250 a", "250 b"]),
        ("EHLO", ["250-a", "550 b"]),
        ("QUIT", ["550 stay"]),
        ("AUTH", ["250 OK"]),
        ("RCPT", ["252 perhaps"]),
        ("MAIL", ["600 no"]),
        ("MAIL", ["099 no"]),
        ("EHLO", ["250-x"] * 200 + ["250 y"]),
    ],
)
def test_what_is_no_reply_is_refused(verb, lines):
    with pytest.raises(UnfitReply, match="expected"):
        reply_of(verb, lines)


def test_utf8_is_sent_only_where_the_client_can_read_it():
    assert reply_of("DATA", ["250 é"], is_utf8=True).wire == "250 é\r\n".encode()
    assert reply_of("DATA", ["250 é"]).wire == b"250 ?\r\n"
    logging.getLogger("mail.log").debug("silent")
