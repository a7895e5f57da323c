"""The kit for test authors without pytest: a server in this process, inboxes, messages."""

import asyncio
import contextlib
import logging
import os
import signal
import smtplib
import socket
import sys
import threading
import time
import warnings
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest

from prixfixe.testing import (
    ExtractError,
    Inbox,
    KitError,
    MailNotFoundError,
    Server,
    UnexpectedMailError,
)
from prixfixe.testing.remote import RemoteServer
from prixfixe.testing.sources import HttpSource, StoreSource


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        yield running


@pytest.fixture(scope="module", params=["store", "http"])
def either(request, server):
    """The server as its own process sees it, and as others see it by HTTP."""
    if request.param == "store":
        yield server
        return
    remote = RemoteServer(server.url, f"{server.smtp_host}:{server.smtp_port}")
    yield remote
    remote.close()


@pytest.fixture
def inbox(either):
    made = either.inbox("test_kit")
    yield made
    made.close()


def letter(to, subject="Hello", sender="shop@example.org", text="How are you?\n", **fields):
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = sender, to, subject
    for name, value in fields.items():
        made[name.replace("_", "-")] = value
    made.set_content(text)
    return made


def send(server, message, **options):
    with smtplib.SMTP(server.smtp_host, server.smtp_port, local_hostname="client.test") as smtp:
        smtp.send_message(message, **options)


def later(seconds, work, *args):
    timer = threading.Timer(seconds, work, args)
    timer.start()
    return timer


def test_both_ways_to_read_are_used(server):
    assert isinstance(server.access.source, StoreSource)
    remote = RemoteServer(server.url)
    assert isinstance(remote.access.source, HttpSource)
    assert (remote.smtp_host, remote.smtp_port) == ("127.0.0.1", server.smtp_port)
    with pytest.raises(KitError, match="expected HOST:PORT"):
        RemoteServer(server.url, "2525")


# --- waiting


def test_a_message_is_read_as_it_was_sent(either, inbox):
    message = letter(inbox.address, "Grüße", sender='"The Shop" <shop@example.org>')
    message["Cc"] = f"Bob <{inbox.new_address('bob')}>"
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="bill.pdf")
    send(either, message, to_addrs=[inbox.address, inbox.new_address("Bob"), "hid@example.net"])
    mail = inbox.wait(subject="grüße")
    assert (mail.subject, mail.sender, mail.sender.name) == (
        "Grüße",
        "shop@example.org",
        "The Shop",
    )
    assert mail.recipients == [inbox.address, f"bob@{inbox.domain}", "hid@example.net"]
    assert (mail.to, mail.cc, mail.cc[0].name) == ([inbox.address], [f"bob@{inbox.domain}"], "Bob")
    assert mail.bcc == ["hid@example.net"]
    assert (mail.text, mail.html) == ("How are you?\n", "")
    [bill] = mail.attachments
    assert (bill.name, bill.content_type, bill.content) == ("bill.pdf", "application/pdf", b"%PDF")
    assert mail.attachment("bill.pdf") == bill
    assert mail.headers["subject"] == "Grüße"
    assert list(mail.headers)[:3] == ["From", "To", "Subject"]
    assert mail.raw.endswith(b"--\r\n")
    assert mail.raw.startswith(b"From: ")
    assert abs(mail.received_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert mail.envelope.helo == "client.test"


def test_mail_before_and_after_the_call_is_found_and_the_same_call_gives_the_same(either, inbox):
    send(either, letter(inbox.address, "one"))
    first = inbox.wait()
    timer = later(0.05, send, either, letter(inbox.new_address("bob"), "two"))
    second = inbox.wait(since=first)
    timer.join()
    assert (first.subject, second.subject) == ("one", "two")
    assert inbox.wait() == first
    assert inbox.wait(count=2) == [first, second] == inbox.messages
    assert inbox.wait(to="bob") == second == inbox.wait(since=first.id, count=1)[0]
    assert inbox.wait(since=datetime.now(UTC) - timedelta(hours=1)) == first
    assert inbox.wait(since="2020-01-01T00:00Z", query="subject:two") == second
    assert inbox.wait(sender="SHOP@example.org", count=2) == [first, second]


def test_many_messages_are_waited_for(either, inbox):
    timers = [later(0.02 * n, send, either, letter(inbox.address, f"no {n}")) for n in range(4)]
    found = inbox.wait(count=4)
    assert {one.subject for one in found} == {f"no {n}" for n in range(4)}
    for timer in timers:
        timer.join()


def test_a_foreign_recipient_counts_since_the_inbox_began(either, inbox):
    send(either, letter("boss@firm.example", "before"))
    later_inbox = either.inbox()
    send(either, letter("boss@firm.example", "after"))
    assert later_inbox.wait(to="boss@firm.example").subject == "after"
    assert inbox.wait(to="boss@firm.example").subject == "before"
    assert later_inbox.messages == []


async def test_the_async_twins(either, inbox):
    waiting = asyncio.gather(*(inbox.wait_async(subject=f"no {n}") for n in range(40)))
    await inbox.assert_none_async()
    where = {"hostname": either.smtp_host, "port": either.smtp_port}
    for number in range(40):
        await aiosmtplib.send(letter(inbox.address, f"no {number}"), **where)
    found = await waiting
    assert [one.subject for one in found] == [f"no {n}" for n in range(40)]
    assert len(await inbox.wait_async(count=40)) == 40
    with pytest.raises(UnexpectedMailError):
        await inbox.assert_none_async()


# --- what did not come


def test_a_failed_wait_says_what_there_was(either, inbox):
    send(either, letter(inbox.address, "Welcome!"))
    with pytest.raises(MailNotFoundError) as caught:
        inbox.wait(subject="Welcome", sender="shop@example.com", timeout="50ms")
    text = str(caught.value)
    assert text.startswith("no mail in 0.05 s; wanted: to anybody at ")
    assert f"from shop@example.org to {inbox.address}: 'Welcome!'" in text
    assert "subject - Welcome\n" in text
    assert "subject + Welcome!\n" in text
    assert "sender  - shop@example.com\n" in text
    with pytest.raises(MailNotFoundError, match="1 of 2 messages in 0 s"):
        inbox.wait(count=2, timeout=0)
    with pytest.raises(MailNotFoundError, match=r"query .*does not match has:attachment"):
        inbox.wait(query="has:attachment", timeout=0)


def test_mail_for_others_is_told_by_the_own_server(server):
    inbox = server.inbox()
    send(server, letter("bobb@example.net"))
    with pytest.raises(MailNotFoundError, match=r"others:\n  bobb@example.net"):
        inbox.wait(timeout=0)


def test_none_came(either, inbox):
    other = either.inbox()
    send(either, letter(other.address))
    inbox.assert_none()
    inbox.assert_none(within="10ms")
    send(either, letter(inbox.address))
    inbox.assert_none(sender="somebody@example.net")
    for how in ({}, {"within": 5}, {"sender": "shop@example.org"}):
        with pytest.raises(UnexpectedMailError, match=r"from shop@example.org to test-kit@"):
            inbox.assert_none(**how)


def test_within_ends_with_the_first_mail(either, inbox):
    began = time.monotonic()
    timer = later(0.05, send, either, letter(inbox.address))
    with pytest.raises(UnexpectedMailError):
        inbox.assert_none(within=60)
    timer.join()
    assert time.monotonic() - began < 50


def open_transaction(server, sender, to):
    smtp = smtplib.SMTP(server.smtp_host, server.smtp_port, local_hostname="client.test")
    smtp.ehlo()
    smtp.mail(sender)
    smtp.rcpt(to)
    return smtp


def test_an_open_transaction_is_waited_for(either):
    inbox = either.inbox()
    smtp = open_transaction(either, "shop@example.org", inbox.address)
    timer = later(0.1, smtp.data, b"Subject: late\r\n\r\nhi\r\n")
    with pytest.raises(UnexpectedMailError, match="late"):
        inbox.assert_none()
    timer.join()
    smtp.quit()
    gone = open_transaction(either, "shop@example.org", either.inbox().address)
    either.inbox().assert_none()  # It is for somebody else.
    gone.close()


def test_the_session_of_a_sender_is_waited_for(either):
    inbox, elsewhere = either.inbox(), either.inbox()
    smtp = open_transaction(either, "slow@example.org", elsewhere.address)
    smtp.data(b"Subject: first\r\n\r\nhi\r\n")

    def second():
        smtp.sendmail("slow@example.org", [inbox.address], "From: slow@example.org\r\n\r\nhi\r\n")
        smtp.quit()

    timer = later(0.1, second)
    with pytest.raises(UnexpectedMailError):
        inbox.assert_none(sender="slow@example.org")
    timer.join()


# --- what a message has


def test_links_and_codes(either, inbox):
    message = letter(
        inbox.address, text="Order 20261130, your code is 482913.\nhttps://a.example/x?b=1&c=2.\n"
    )
    html = '<p>Hi <a href="https://a.example/reset?u=1&amp;t=2">reset</a></p>'
    message.add_alternative(html, subtype="html")
    send(either, message)
    mail = inbox.wait()
    assert mail.links() == ["https://a.example/reset?u=1&t=2", "https://a.example/x?b=1&c=2"]
    assert mail.link(contains="/reset") == "https://a.example/reset?u=1&t=2"
    assert mail.code() == "482913"
    assert mail.code(length=8) == "20261130"
    assert mail.html.startswith(html)
    assert mail.link() == mail.links()[0]
    with pytest.raises(
        ExtractError, match=r"no link that contains 'no' .*\n  https://a.example/reset"
    ):
        mail.link(contains="no")
    with pytest.raises(ExtractError, match="no code of length 4"):
        mail.code(length=4)
    with pytest.raises(KitError, match="length=1: expected 3 to 20"):
        mail.code(length=1)
    with pytest.raises(ExtractError, match="there: none"):
        mail.attachment("x.pdf")


# --- wrong use


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"timeout": "soon"}, "timeout='soon': expected seconds, or a text such as '500ms'"),
        ({"timeout": -1}, "timeout=-1: expected seconds"),
        ({"count": 0}, "count=0: expected 1 or more"),
        ({"since": "yesterday"}, "since='yesterday': expected a message, an id, or a time"),
        ({"subject": ""}, "subject='': expected text"),
        ({"query": "has:legs"}, "query='has:legs': query: has:legs is not known"),
    ],
)
def test_wrong_use_is_told(server, arguments, expected):
    with pytest.raises(KitError) as caught:
        server.inbox().wait(**arguments)
    assert expected in str(caught.value)


def test_wrong_servers_are_told():
    with pytest.raises(KitError, match=r"tls='maybe': expected"):
        Server(tls="maybe")
    with pytest.raises(KitError, match=r"SMTP_PRT=.*did you mean SMTP_PORT"):
        Server(settings={"SMTP_PRT": "1"}).start()
    with pytest.raises(KitError, match="use `with Server"):
        Server().url
    with pytest.raises(KitError, match="expected http://HOST:PORT"):
        Inbox("127.0.0.1:8025")
    with pytest.raises(KitError, match=r"no answer: .*refused"):
        Inbox("http://127.0.0.1:9")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(KitError, match=f"does not start: cannot listen on 127.0.0.1:{port}"):
            Server(settings={"SMTP_PORT": str(port)}).start()


# --- the server


def state():
    return {
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "policy": type(asyncio.get_event_loop_policy()) if sys.version_info < (3, 14) else None,
        "filters": list(warnings.filters),
        "root": (logging.root.level, list(logging.root.handlers)),
        "levels": dict(logging._levelToName),
        "http": vars(logging.getLogger("prixfixe.http")) | {"_cache": None},
        "switch": sys.getswitchinterval(),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
        "environ": dict(os.environ),
    }


def test_it_starts_and_ends_without_a_trace(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with Server(tls=True) as warm:  # What is imported once, is imported now.
        warm.url
    caplog.set_level(logging.DEBUG)
    before, threads = state(), set(threading.enumerate())
    with Server(tls=True, users={"ann": "secret"}) as one, Server() as two:
        assert one.smtp_port != two.smtp_port
        assert state() == before
        certificate, ports = Path(one.certificate), (one.smtp_port, two.smtp_port)
        assert certificate.exists()
        send(two, letter(two.inbox().address))
    assert set(threading.enumerate()) == threads
    assert (list(tmp_path.iterdir()), state()) == ([], before)
    assert not [one for one in caplog.records if one.name != "asyncio"]
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()


async def test_the_async_server():
    async with Server() as server:
        inbox = server.inbox()
        await aiosmtplib.send(
            letter(inbox.address), hostname=server.smtp_host, port=server.smtp_port
        )
        assert (await inbox.wait_async()).subject == "Hello"


def test_tls_and_logins():
    with Server(tls="required", users={"ann": "s3cret/:@"}) as server:
        env = server.env
        inbox = Inbox(server)
        with smtplib.SMTP("localhost", server.smtp_port) as smtp:
            smtp.starttls(context=server.ssl_context)
            smtp.login(env["SMTP_USER"], env["SMTP_PASSWORD"])
            smtp.send_message(letter(inbox.address, "starttls"))
        with smtplib.SMTP_SSL("localhost", server.smtps_port, context=server.ssl_context) as smtp:
            with pytest.raises(smtplib.SMTPAuthenticationError):
                smtp.login("ann", "wrong")
            smtp.login("ann", "s3cret/:@")
            smtp.send_message(letter(inbox.address, "implicit"))
        found = inbox.wait(count=2)
        assert [(one.subject, one.envelope.user) for one in found] == [
            ("starttls", "ann"),
            ("implicit", "ann"),
        ]
        assert env["EMAIL_USE_TLS"] == "true"
        assert env["MAILER_DSN"] == f"smtp://ann:s3cret%2F%3A%40@127.0.0.1:{server.smtp_port}"
    with Server() as server, pytest.raises(KitError, match="has no TLS"):
        server.ssl_context


def test_any_login():
    with (
        Server(auth="any") as server,
        contextlib.closing(smtplib.SMTP(server.smtp_host, server.smtp_port)) as smtp,
    ):
        assert smtp.login("whoever", "whatever")[0] == 235


def test_the_variables_of_applications(server):
    env = server.env
    assert (env["EMAIL_HOST"], env["EMAIL_PORT"]) == ("127.0.0.1", str(server.smtp_port))
    assert (env["MAIL_SERVER"], env["SMTP_HOST"]) == ("127.0.0.1", "127.0.0.1")
    assert env["EMAIL_USE_TLS"] == "false"
    assert env["PRIXFIXE_URL"] == server.url


def test_a_durable_store_is_read_by_the_api(tmp_path):
    with Server(settings={"SMTP_STORE": f"sqlite:{tmp_path}/mail.db"}) as server:
        assert isinstance(server.access.source, HttpSource)
        inbox = server.inbox()
        send(server, letter(inbox.address))
        assert inbox.wait().subject == "Hello"


def test_cleaning_takes_the_own_mail_alone(either):
    mine, other = either.inbox(), either.inbox()
    for one in (mine, other):
        send(either, letter(one.address))
    mine.clear()
    mine.clear()
    assert mine.messages == []
    assert len(other.messages) == 1
    other.close()


# --- faults


def test_a_fault_is_met_so_often_and_counts_it(either, inbox):
    fault = inbox.faults.add(stage="rcpt", reply="451 4.2.1 busy", times=2)
    assert fault.hits == 0
    for _ in range(2):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
            send(either, letter(inbox.address))
        assert caught.value.recipients[inbox.address] == (451, b"4.2.1 busy")
    send(either, letter(inbox.address, "third"))
    assert (inbox.wait().subject, fault.hits) == ("third", 2)
    fault.remove()
    fault.remove()


def test_faults_are_for_the_own_address(either, inbox):
    other = either.inbox()
    with inbox.faults.add(stage="eod", reply="452 4.3.1 full"):
        send(either, letter(other.address))
        send(either, letter(inbox.new_address("bob")))
        with pytest.raises(smtplib.SMTPDataError, match=r"4\.3\.1 full"):
            send(either, letter(inbox.address))
    send(either, letter(inbox.address, "after"))
    assert len(other.messages) == 1
    assert [one.to[0].partition("@")[0] for one in inbox.messages] == ["bob", "test-kit"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"stage": "data", "drop": True}, smtplib.SMTPServerDisconnected),
        ({"stage": "data", "close_after": 100}, (smtplib.SMTPServerDisconnected, OSError)),
        ({"stage": "eod", "drop": True}, smtplib.SMTPServerDisconnected),
        (
            {"stage": "mail", "reply": "550 5.7.1 no", "sender": "shop@example.org"},
            smtplib.SMTPSenderRefused,
        ),
        (
            {"stage": "ehlo", "reply": "421 4.3.2 away", "helo": "client.test"},
            smtplib.SMTPException,
        ),
    ],
)
def test_every_kind_of_fault(either, inbox, arguments, error):
    with inbox.faults.add(**arguments), pytest.raises(error):
        send(either, letter(inbox.address, text="x" * 2000))
    assert inbox.messages == []


def test_a_delay_at_the_end_stores_the_mail_first(either, inbox):
    inbox.faults.add(stage="eod", delay="200ms", times=1)
    sender = threading.Thread(target=send, args=(either, letter(inbox.address)))
    began = time.monotonic()
    sender.start()
    inbox.wait()
    sender.join()
    assert time.monotonic() - began >= 0.2


def test_a_stalled_client_waits_until_the_fault_is_over(either, inbox):
    inbox.faults.add(stage="rcpt", stall=True)
    smtp = smtplib.SMTP(
        either.smtp_host, either.smtp_port, local_hostname="client.test", timeout=0.2
    )
    smtp.ehlo()
    smtp.mail("shop@example.org")
    with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
        smtp.rcpt(inbox.address)
    smtp.close()


def test_faults_end_with_the_inbox(server):
    inbox = server.inbox()
    fault = inbox.faults.add(stage="rcpt", reply="550 5.1.1 no")
    assert fault.hits == 0
    address = inbox.address
    inbox.close()
    send(server, letter(address))
    with pytest.raises(KitError, match="404"):
        fault.hits


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            {"stage": "rcpt"},
            "expected one of reply=, delay=, drop=True, stall=True, close_after=; got nothing",
        ),
        ({"stage": "rcpt", "drop": True, "stall": True}, "got drop, stall"),
        (
            {"stage": "lunch", "drop": True},
            "one of connect, ehlo, starttls, auth, mail, rcpt, data, eod",
        ),
        ({"stage": "rcpt", "reply": "250 ok"}, "4xx or 5xx"),
        ({"stage": "rcpt", "drop": True, "ttl": "long"}, "ttl='long': expected seconds"),
        ({"stage": "mail", "drop": True, "to": "a@b.example"}, "to is not known yet at mail"),
    ],
)
def test_a_wrong_fault_is_told(either, inbox, arguments, expected):
    with pytest.raises(KitError) as caught:
        inbox.faults.add(**arguments)
    assert expected in str(caught.value)


def test_a_fault_for_everybody_is_refused_where_others_are(server):
    shared = RemoteServer(server.url, f"{server.smtp_host}:{server.smtp_port}")
    with pytest.raises(KitError, match="others use this server too"):
        shared.inbox().faults.add(stage="ehlo", drop=True)
    shared.close()
    fault = server.inbox().faults.add(stage="connect", reply="421 4.3.2 away")
    with fault, pytest.raises(smtplib.SMTPConnectError):
        send(server, letter("ann@example.com"))


def test_a_server_without_faults_is_told():
    settings = {"SMTP_FAULTS": "false"}
    with Server(settings=settings) as server, pytest.raises(KitError, match="SMTP_FAULTS=true"):
        server.inbox().faults.add(stage="rcpt", drop=True)


# --- what was refused


def test_what_was_refused_is_listed_and_explains_a_failure(either, inbox):
    inbox.faults.add(stage="rcpt", reply="550 5.1.1 nobody here", times=1)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(either, letter(inbox.address))
    [attempt] = inbox.refused
    assert (attempt.stage, attempt.reply) == ("rcpt", "550 5.1.1 nobody here")
    assert (attempt.sender, attempt.recipients) == ("shop@example.org", (inbox.address,))
    assert str(attempt).startswith("RCPT: 550 5.1.1 nobody here (")
    assert str(attempt).endswith(f"from <shop@example.org> to {inbox.address}")
    with pytest.raises(MailNotFoundError) as caught:
        inbox.wait(timeout=0)
    text = str(caught.value)
    assert f"refused: 1\n  {attempt}\nthe last session:\n" in text
    assert "  C: ehlo client.test\n" in text
    assert "  S: 550 5.1.1 nobody here" in text
    assert either.inbox().refused == []
