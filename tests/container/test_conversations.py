"""Whole conversations: what clients sent is what is kept, envelope and body, to the octet."""

import asyncio
import contextlib
import json
import re
import smtplib
from email.message import EmailMessage
from email.policy import SMTP

import aiosmtplib

from tests.container.talk import Crowd, body_of, deliver, envelope, stuffed
from tests.container.waiting import eventually

SHAPES = {
    "plain": b"Subject: plain\r\n\r\nhello\r\n",
    "only a header": b"Subject: no body\r\n",
    "empty first line": b"\r\nno header\r\n",
    "dots": b".\r\n..\r\n...\r\n.x\r\n",
    "dots inside": b"Subject: dots\r\n\r\n.\r\n..\r\n x.\r\n.end\r\n",
    "no more than an end of line": b"\r\n",
    "empty lines at the end": b"Subject: x\r\n\r\ntext\r\n\r\n\r\n",
    "all octets but CR and LF": b"Subject: 8bit\r\n\r\n"
    + bytes(sorted(set(range(256)) - {10, 13}))
    + b"\r\n",
    "a line of 998 octets": b"Subject: x\r\n\r\n" + b"y" * 998 + b"\r\n",
    "a very long line": b"Subject: x\r\n\r\n" + b"z" * 100_000 + b"\r\n",
    "a header of another server": b"Received: from a by b; 1 Jan 2026 00:00:00 +0000\r\n"
    b"Return-Path: <else@where.test>\r\n\r\nx\r\n",
}


# --- one message


def test_bodies_are_kept_to_the_octet(start):
    box = start()
    with box.hello() as wire:
        for body in SHAPES.values():
            deliver(wire, body)
    kept = dict(zip(SHAPES, box.messages(), strict=True))
    assert {name: one.body for name, one in kept.items()} == SHAPES
    assert [name for name, one in kept.items() if not one.raw.endswith(SHAPES[name])] == []


def test_the_trace_is_in_front_of_the_body_and_not_in_it(start):
    box = start()
    body = body_of(300)
    with box.hello() as wire:
        deliver(wire, body)
    raw = box.messages()[0].raw
    trace = raw[: -len(body)]
    assert raw == trace + body
    assert trace.startswith(b"Return-Path: <sender@example.com>\r\nReceived: from client.test ")
    assert trace.count(b"\r\nReceived: ") == 1


def test_an_envelope_is_kept_exactly(start):
    box = start()
    with box.hello() as wire:
        commands = (
            b"MAIL FROM:<Sender.Name+tag@Example.COM> SIZE=500 BODY=8BITMIME RET=HDRS ENVID=QQ314\r\n",
            b"RCPT TO:<One@Example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;One@Example.org\r\n",
            b'RCPT TO:<"a b"@[192.0.2.1]> NOTIFY=NEVER\r\n',
            b"RCPT TO:<Postmaster>\r\n",
        )
        assert [wire.ask(command)[0] for command in commands] == [250] * 4
        assert wire.ask(b"DATA\r\n") == [354]
        assert wire.ask(b"x\r\n.\r\n") == [250]
        host, port = wire.socket.getsockname()
    (kept,) = box.messages()
    assert kept.sender == "Sender.Name+tag@Example.COM"
    params = {"SIZE": "500", "BODY": "8BITMIME", "RET": "HDRS", "ENVID": "QQ314"}
    assert kept.facts["FromParams"] == params
    assert kept.recipients == ("One@Example.org", '"a b"@[192.0.2.1]', "Postmaster")
    assert [one["Params"] for one in kept.facts["To"]] == [
        {"NOTIFY": "SUCCESS,DELAY", "ORCPT": "rfc822;One@Example.org"},
        {"NOTIFY": "NEVER"},
        {},
    ]
    assert kept.facts["Helo"] == "client.test"
    assert kept.facts["Protocol"] == "ESMTP"
    assert (kept.facts["TLS"], kept.facts["User"]) == (None, None)
    assert re.fullmatch(r"[\d.]+:\d+", kept.facts["Peer"])


def test_a_bounce_has_no_sender(start):
    box = start()
    with box.hello() as wire:
        deliver(wire, body_of(200), sender="")
    (kept,) = box.messages()
    assert kept.sender == ""
    assert kept.raw.startswith(b"Return-Path: <>\r\n")


def test_addresses_and_headers_in_any_script_are_kept(start):
    box = start()
    body = "Subject: größer, 大きい\r\n\r\nпривет\r\n".encode()
    with box.hello() as wire:
        commands = (
            "MAIL FROM:<jürgen@bücher.example> SMTPUTF8 BODY=8BITMIME",
            "RCPT TO:<用户@例え.example>",
            "DATA",
        )
        codes = [wire.ask(f"{command}\r\n".encode())[0] for command in commands]
        assert codes == [250, 250, 354]
        assert wire.ask(stuffed(body)) == [250]
    (kept,) = box.messages()
    assert (kept.sender, kept.recipients) == ("jürgen@bücher.example", ("用户@例え.example",))
    assert kept.body == body
    assert kept.facts["Protocol"] == "UTF8SMTP"


def test_one_id_is_in_the_reply_the_api_the_trace_and_the_log(start):
    box = start()
    with box.hello() as wire:
        name = deliver(wire, body_of(200))
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name)
    (kept,) = box.messages()
    assert kept.id == name
    assert f" id {name}".encode() in kept.raw
    (record,) = box.logged("message kept")
    assert record["id"] == name
    eventually(
        lambda: record["session"] in {one["session"] for one in box.logged("session ended")},
        what="the end of its session",
    )


def test_a_250_is_readable_at_once_by_every_interface(start):
    box = start()
    with box.hello() as wire:
        name = deliver(wire, body_of(200, "at once"))
        assert box.http(f"/api/v1/message/{name}").json["Subject"] == "at once"
        assert box.http("/api/v1/search?query=subject:once").json["messages_count"] == 1
        assert json.loads(box.prixfixe("messages", "--json").output)["id"] == name


def test_who_waits_for_mail_gets_it_when_it_is_kept(start):
    box = start()
    with box.connect(8025) as waiter:
        waiter.send(b"GET /api/v1/wait?query=to:me@b.test&timeout=20 HTTP/1.1\r\nHost: x\r\n\r\n")
        with box.hello() as wire:
            deliver(wire, body_of(100), recipients=["you@b.test"])
            assert not waiter.has_more(0)
            name = deliver(wire, body_of(100), recipients=["me@b.test"])
        assert waiter.reply().startswith(b"HTTP/1.1 200 ")
        waiter.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert name.encode() in waiter.rest()


# --- ways to send


def test_a_message_in_chunks_is_whole(start):
    box = start()
    body = body_of(50_000)
    with box.hello() as wire:
        assert wire.ask(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n", 2) == [250, 250]
        for at in range(0, 50_000, 10_000):
            last = b" LAST" if at == 40_000 else b""
            assert wire.ask(b"BDAT 10000%b\r\n" % last + body[at : at + 10_000]) == [250]
    assert [one.body for one in box.messages()] == [body]


def test_a_whole_session_in_one_segment_is_answered_in_order(start):
    box = start()
    session = (
        b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nfirst\r\n.\r\n"
        b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nsecond\r\n.\r\nQUIT\r\n"
    )
    with box.greeted() as wire:
        assert wire.ask(session, 10) == [250, 250, 250, 354, 250, 250, 250, 354, 250, 221]
        assert wire.end()
    assert [one.body for one in box.messages()] == [b"first\r\n", b"second\r\n"]


def test_a_session_octet_by_octet_is_the_same(start):
    box = start()
    with box.hello() as wire:
        for line, code in (
            (b"MAIL FROM:<a@b.test>\r\n", 250),
            (b"RCPT TO:<c@d.test>\r\n", 250),
            (b"DATA\r\n", 354),
            (b"Subject: slow\r\n\r\n..dot\r\n.\r\n", 250),
        ):
            wire.send(line, by_octet=True)
            assert wire.replies(1) == [code]
    assert [one.body for one in box.messages()] == [b"Subject: slow\r\n\r\n.dot\r\n"]


def test_a_forgotten_transaction_leaves_nothing(start):
    box = start()
    with box.hello() as wire:
        assert wire.ask(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nRSET\r\n", 3) == [250] * 3
        assert wire.ask(b"DATA\r\n") == [503]
        deliver(wire, body_of(100), recipients=["other@d.test"])
    assert [one.recipients for one in box.messages()] == [("other@d.test",)]


def test_quit_is_answered_and_then_the_connection_ends(start):
    with start().hello() as wire:
        assert wire.ask(b"QUIT\r\n") == [221]
        assert wire.end()


def test_smuggled_mail_stays_inside_its_message(start):
    """Ends of data that are none: the whole is refused, and nothing behind them is obeyed."""
    box = start()
    for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n\x00.\r\n"):
        with box.hello() as wire:
            envelope(wire)
            wire.send(b"x" + end + b"MAIL FROM:<evil@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
            wire.send(b"y\r\n.\r\n")
            is_kept = b"\x00" in end  # its line ends are sound
            assert wire.reply().startswith(b"250 " if is_kept else b"550 5.5.2 "), end
            assert wire.ask(b"NOOP\r\n") == [250]
    (kept,) = box.messages()
    assert kept.sender == "sender@example.com"


# --- big ones and many


def test_a_message_of_nine_megabytes_is_kept_to_the_octet(start):
    box = start(mem_limit="128m")
    body = body_of(9_000_000)
    with box.hello() as wire:
        name = deliver(wire, body)
    assert box.http(f"/api/v1/message/{name}/raw").body.endswith(body)


async def test_many_clients_of_aiosmtplib_in_parallel(start):
    """Each sends its own messages on one connection; every one is there once and whole."""
    box = start()
    host, port = box.address()

    async def client(number):
        sent = []
        async with aiosmtplib.SMTP(hostname=host, port=port, timeout=30) as smtp:
            for count in range(5):
                body = body_of(1000 + 700 * count, f"client {number} message {count}")
                sender = f"client{number}@example.com"
                await smtp.sendmail(sender, [f"{count}@example.org"], body)
                sent.append((sender, (f"{count}@example.org",), body))
        return sent

    groups = await asyncio.gather(*(client(number) for number in range(10)))
    sent = [one for group in groups for one in group]
    kept = [(one.sender, one.recipients, one.body) for one in box.messages()]
    assert sorted(kept) == sorted(sent)


def test_sessions_that_interleave_do_not_mix(start):
    box = start()
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(box.hello()) for _ in range(5)]
        for number, wire in enumerate(wires):
            envelope(wire, f"s{number}@example.com")
        for part in (b"Subject: %d\r\n\r\n", b"line %d\r\n", b".\r\n"):
            for number, wire in enumerate(wires):
                wire.send(part % number if b"%" in part else part)
        assert [wire.replies(1) for wire in wires] == [[250]] * 5
    kept = {one.sender: one.body for one in box.messages()}
    assert kept == {
        f"s{n}@example.com": b"Subject: %d\r\n\r\nline %d\r\n" % (n, n) for n in range(5)
    }


def test_what_is_acknowledged_under_load_is_what_is_kept(start):
    box = start()
    with Crowd(box.hello, 10, each=15) as crowd:
        ledger = crowd.join()
    assert (crowd.errors, ledger.refused, ledger.unanswered) == ([], [], [])
    assert len(ledger.acknowledged) == 150
    ledger.settle(box.messages())
    assert box.http("/api/v1/info").json["Messages"] == 150


def test_the_standard_library_s_client_sends_a_multipart(start):
    mail = EmailMessage(policy=SMTP)
    mail["Subject"], mail["From"], mail["To"] = "Größe", "a@b.test", "c@d.test"
    mail.set_content("text\n")
    mail.add_attachment(bytes(range(256)) * 10, maintype="image", subtype="png", filename="ä.png")
    mail.set_boundary("between")
    box = start()
    with smtplib.SMTP(*box.address(), timeout=30) as smtp:
        smtp.send_message(mail)
    (kept,) = box.messages()
    assert kept.body == mail.as_bytes(policy=SMTP)
    shown = box.http(f"/api/v1/message/{kept.id}").json
    assert (shown["Subject"], shown["Attachments"][0]["FileName"]) == ("Größe", "ä.png")
    part = shown["Attachments"][0]["PartID"]
    assert box.http(f"/api/v1/message/{kept.id}/part/{part}").body == bytes(range(256)) * 10


def test_the_counters_agree_with_what_happened(start):
    box = start()
    with box.hello() as wire:
        deliver(wire, body_of(1000))
        deliver(wire, body_of(1000))
        assert wire.ask(b"WHAT\r\n") == [500]

    found = box.counted()
    accepted = 'prixfixe_messages_total{listener="smtp",reason="none",result="accepted"}'
    assert found[accepted] == 2
    assert found['prixfixe_smtp_replies_total{code="500"}'] == 1
    eventually(lambda: box.counted()['prixfixe_smtp_connections_active{listener="smtp"}'] == 0)
