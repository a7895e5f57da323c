"""Every setting, and a check from outside the container that the setting is respected.

A row has the setting's value and a check that fails if the setting is ignored. A test compares
`RESPECTED` with the settings table, so that no setting is missing. Wrong values are in
`test_settings`, and limits in depth in `test_limits`.

Files that settings name are mounted at /run/secrets (fixture `secrets` of `test_settings`).
"""

from __future__ import annotations

import base64
import contextlib
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.container.box import moment
from tests.container.talk import body_of, deliver, envelope, stuffed
from tests.container.waiting import eventually

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.wire import Wire
    from tests.container.box import Box

__all__ = ["PASSWORD", "RESPECTED", "USER", "Row"]

USER, PASSWORD = "alice@example.com", "correct horse"
CERTIFICATE = {
    "SMTP_TLS_CERT": "/run/secrets/cert.pem",
    "SMTP_TLS_KEY": "/run/secrets/key.pem",
}
USERS = {"SMTP_AUTH_USERS": "/run/secrets/users"}


@dataclass(frozen=True)
class Row:
    """What to set, how to start, and the check, which is given the box and a trusting context."""

    environ: dict[str, str]
    check: Callable[..., None]
    options: dict[str, Any] = field(default_factory=dict)


RESPECTED: dict[str, Row] = {}


def respects(
    name: str, environ: dict[str, str], **options: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Enter a check for a setting."""

    def enter(check: Callable[..., None]) -> Callable[..., None]:
        RESPECTED[name] = Row(environ, check, options)
        return check

    return enter


# --- names and addresses


@respects("SMTP_DOMAIN", {"SMTP_DOMAIN": "mail.example.com"})
def domain(box: Box, _trust: ssl.SSLContext) -> None:
    with box.connect() as wire:
        assert wire.reply().startswith(b"220 mail.example.com ")
        wire.send(b"EHLO client.test\r\n")
        assert wire.reply().startswith(b"250-mail.example.com ")
        deliver(wire, body_of(100))
    assert b"by mail.example.com " in box.messages()[0].raw


@respects("SMTP_BIND", {"SMTP_BIND": "127.0.0.1"}, is_awaited=False)
def bind(box: Box, _trust: ssl.SSLContext) -> None:
    assert box.prixfixe("wait").code == 0
    assert not_reached(box, 2525)
    assert box.http("/livez").status == 200


def not_reached(box: Box, port: int) -> bool:
    """Whether nobody answers from outside; the engine's proxy may accept, and hang up."""
    with contextlib.suppress(ConnectionError), box.connect(port) as wire:
        wire.send(b"QUIT\r\n\r\n")  # HTTP answers that too
        return wire.rest() == b""
    return True


@respects("SMTP_PORT", {"SMTP_PORT": "3025"}, ports=(3025, 8025, 2525))
def port(box: Box, _trust: ssl.SSLContext) -> None:
    box.hello(3025).close()
    assert not_reached(box, 2525)


@respects("SMTP_HTTP_PORT", {"SMTP_HTTP_PORT": "9025"}, ports=(2525, 8025, 9025))
def http_port(box: Box, _trust: ssl.SSLContext) -> None:
    assert not_reached(box, 8025)
    with box.connect(9025) as wire:
        wire.send(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert wire.rest().startswith(b"HTTP/1.1 200 ")


@respects("SMTP_HTTP_BIND", {"SMTP_HTTP_BIND": "127.0.0.1"})
def http_bind(box: Box, _trust: ssl.SSLContext) -> None:
    assert not_reached(box, 8025)
    assert box.check().code == 0


# --- limits


@respects("SMTP_MAX_CONNECTIONS", {"SMTP_MAX_CONNECTIONS": "1"})
def max_connections(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello(), box.connect() as second:
        assert second.reply().startswith(b"421 4.3.2 ")


@respects("SMTP_MAX_CONNECTIONS_PER_IP", {"SMTP_MAX_CONNECTIONS_PER_IP": "1"})
def max_connections_per_ip(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello(), box.connect() as second:
        assert second.reply().startswith(b"421 4.7.0 ")


@respects("SMTP_MAX_CONNECTION_RATE", {"SMTP_MAX_CONNECTION_RATE": "3"})
def max_connection_rate(box: Box, _trust: ssl.SSLContext) -> None:
    def greeting() -> bytes:
        with box.connect() as wire:
            return wire.reply()

    assert greeting().startswith(b"220 ")
    assert any(greeting().startswith(b"421 4.7.0 ") for _ in range(3))


@respects("SMTP_MAX_MESSAGE_SIZE", {"SMTP_MAX_MESSAGE_SIZE": "20000"})
def max_message_size(box: Box, _trust: ssl.SSLContext) -> None:
    with box.greeted() as wire:
        wire.send(b"EHLO client.test\r\n")
        assert b"SIZE 20000\r\n" in wire.reply()
        envelope(wire)
        wire.send(stuffed(body_of(20001)))
        assert wire.reply().startswith(b"552 5.3.4 ")


@respects("SMTP_MAX_RECIPIENTS", {"SMTP_MAX_RECIPIENTS": "1"})
def max_recipients(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        assert wire.ask(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n", 2) == [250, 250]
        wire.send(b"RCPT TO:<e@f.test>\r\n")
        assert wire.reply().startswith(b"452 4.5.3 ")


@respects("SMTP_MAX_ERRORS", {"SMTP_MAX_ERRORS": "3"})
def max_errors(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        assert wire.ask(b"WHAT\r\n" * 3, 4) == [500, 500, 500, 421]
        assert wire.end()


@respects("SMTP_MAX_INFLIGHT", {"SMTP_MAX_INFLIGHT": "6MB", "SMTP_MAX_MESSAGE_SIZE": "6MB"})
def max_inflight(box: Box, _trust: ssl.SSLContext) -> None:
    """The second of two big messages is not read until there is room for it."""
    body = body_of(5_000_000)
    before = resident_octets(box)
    with box.hello() as first, box.hello() as second:
        envelope(first)
        envelope(second)
        first.send(stuffed(body)[:-3])
        eventually(lambda: resident_octets(box) > before + 4_000_000, what="the first in memory")
        sending = threading.Thread(target=second.send, args=(stuffed(body),))
        sending.start()
        assert not second.has_more(1.0)
        first.send(b".\r\n")
        assert first.reply().startswith(b"250 ")
        sending.join(20)
        assert second.reply().startswith(b"250 ")


def resident_octets(box: Box) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", box.file("/proc/1/status"))
    return int(found[1]) * 1024 if found else 0


@respects("SMTP_TIMEOUT", {"SMTP_TIMEOUT": "0.5"})
def timeout(box: Box, _trust: ssl.SSLContext) -> None:
    with box.greeted() as wire:
        assert wire.reply().startswith(b"421 4.4.2 ")


@respects("SMTP_MAX_SESSION_TIME", {"SMTP_MAX_SESSION_TIME": "1"})
def max_session_time(box: Box, _trust: ssl.SSLContext) -> None:
    with box.greeted() as wire:
        assert wire.reply().startswith(b"421 4.4.2 ")


@respects("SMTP_MAX_MESSAGES", {"SMTP_MAX_MESSAGES": "1"})
def max_messages(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        deliver(wire, body_of(100))
        wire.send(b"MAIL FROM:<a@b.test>\r\n")
        assert wire.reply().startswith(b"421 4.7.0 ")


@respects("SMTP_STRESS_TIMEOUT", {"SMTP_STRESS_TIMEOUT": "0.2", "SMTP_MAX_CONNECTIONS": "1"})
def stress_timeout(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello():
        eventually(lambda: is_let_in(box), 4, "the place of a silent client")  # the default is 5


@respects(
    "SMTP_MIN_DATA_RATE",
    {"SMTP_MIN_DATA_RATE": "1MB", "SMTP_STRESS_TIMEOUT": "0.5", "SMTP_MAX_CONNECTIONS": "1"},
)
def min_data_rate(box: Box, _trust: ssl.SSLContext) -> None:
    """Far above the default rate, and below this one: the place goes to a newcomer."""
    with box.hello() as wire:
        envelope(wire)

        def is_replaced() -> bool:
            wire.send(b"x" * 900 + b"\r\n")
            return is_let_in(box)

        eventually(is_replaced, what="the place of a slow client")


def is_let_in(box: Box) -> bool:
    with box.connect() as wire:
        return wire.reply().startswith(b"220 ")


@respects("SMTP_STORE_TIMEOUT", {"SMTP_STORE_TIMEOUT": "7"})
def store_timeout(box: Box, _trust: ssl.SSLContext) -> None:
    """Only that it arrives: what it does on a disk that hangs, the durability tests see (F11)."""
    shown = box.prixfixe("config").output
    assert re.search(r"^SMTP_STORE_TIMEOUT +7 +environment", shown, re.MULTILINE), shown


@respects("SMTP_SHUTDOWN_TIMEOUT", {"SMTP_SHUTDOWN_TIMEOUT": "0.2"})
def shutdown_timeout(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        envelope(wire)
        box.signal("SIGTERM")
        assert box.exit_code() == 0
    (began,), (ended,) = box.logged("stopping"), box.logged("stopped")
    taken = moment(ended["time"]) - moment(began["time"])
    assert taken.total_seconds() < 8  # the default


# --- whose mail, and what mail


@respects("SMTP_RECIPIENTS", {"SMTP_RECIPIENTS": "@good.test, me@other.test"})
def recipients(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        assert wire.ask(b"MAIL FROM:<a@b.test>\r\n") == [250]
        wire.send(b"RCPT TO:<me@bad.test>\r\n")
        assert wire.reply().startswith(b"550 5.1.1 ")
        assert wire.ask(b"RCPT TO:<any@good.test>\r\nRCPT TO:<me@other.test>\r\n", 2) == [250, 250]


@respects("SMTP_STRICT", {"SMTP_STRICT": "true"})
def strict(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        envelope(wire)
        wire.send(b"Subject: long\r\n\r\n" + b"x" * 999 + b"\r\n.\r\n")
        assert wire.reply().startswith(b"550 5.6.0 ")


@respects("SMTP_BARE_LF", {"SMTP_BARE_LF": "accept"})
def bare_lf(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        envelope(wire)
        assert wire.ask(b"Subject: lf\n\na\n.\nb\r\n.\r\n") == [250]
    assert box.messages()[0].body == b"Subject: lf\n\na\n.\nb\r\n"


# --- TLS and AUTH


def over_tls(wire: Wire, trust: ssl.SSLContext) -> str | None:
    """Start TLS on a connection and return its version."""
    assert wire.ask(b"STARTTLS\r\n") == [220]
    wire.start_tls(trust)
    assert wire.ask(b"EHLO client.test\r\n") == [250]
    return wire.socket.version()


@respects("SMTP_TLS", {"SMTP_TLS": "required", **CERTIFICATE})
def tls(box: Box, trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        wire.send(b"MAIL FROM:<a@b.test>\r\n")
        assert wire.reply().startswith(b"530 5.7.0 ")
        over_tls(wire, trust)
        deliver(wire, body_of(100))


@respects("SMTP_TLS_CERT", CERTIFICATE)
@respects("SMTP_TLS_KEY", CERTIFICATE)
def tls_pair(box: Box, trust: ssl.SSLContext) -> None:
    """The context trusts only the authority of the mounted pair."""
    with box.hello() as wire:
        over_tls(wire, trust)
        deliver(wire, body_of(100))
    assert box.messages()[0].facts["TLS"]


@respects("SMTP_TLS_PORT", {"SMTP_TLS_PORT": "2465", **CERTIFICATE}, ports=(2525, 8025, 2465))
def tls_port(box: Box, trust: ssl.SSLContext) -> None:
    with box.connect(2465) as wire:
        wire.start_tls(trust)
        assert wire.reply().startswith(b"220 ")
        assert wire.ask(b"EHLO client.test\r\n") == [250]
        deliver(wire, body_of(100))


@respects("SMTP_TLS_MIN_VERSION", {"SMTP_TLS_MIN_VERSION": "1.3", **CERTIFICATE})
def tls_min_version(box: Box, trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        assert over_tls(wire, trust) == "TLSv1.3"
    trust.maximum_version = ssl.TLSVersion.TLSv1_2
    with box.hello() as wire:
        assert wire.ask(b"STARTTLS\r\n") == [220]
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            wire.start_tls(trust)
            raise AssertionError("TLS 1.2 was accepted")


def login(password: str) -> bytes:
    octets = base64.b64encode(f"\0{USER}\0{password}".encode())
    return b"AUTH PLAIN %b\r\n" % octets


@respects("SMTP_AUTH", {"SMTP_AUTH": "required", "SMTP_AUTH_INSECURE": "true", **USERS})
def auth(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        wire.send(b"MAIL FROM:<a@b.test>\r\n")
        assert wire.reply().startswith(b"530 5.7.0 ")
        assert wire.ask(login(PASSWORD)) == [235]
        deliver(wire, body_of(100))
    assert box.messages()[0].facts["User"] == USER


@respects("SMTP_AUTH_USERS", {"SMTP_AUTH": "optional", "SMTP_AUTH_INSECURE": "true", **USERS})
def auth_users(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        assert wire.ask(login("wrong horse")) == [535]
        assert wire.ask(login(PASSWORD)) == [235]


@respects("SMTP_AUTH_INSECURE", {"SMTP_AUTH": "any", "SMTP_AUTH_INSECURE": "true", **CERTIFICATE})
def auth_insecure(box: Box, _trust: ssl.SSLContext) -> None:
    with box.greeted() as wire:
        wire.send(b"EHLO client.test\r\n")
        assert b"AUTH PLAIN LOGIN\r\n" in wire.reply()


LOGINS = {"SMTP_AUTH": "optional", "SMTP_AUTH_INSECURE": "true", **USERS}


@respects("SMTP_AUTH_MAX_FAILURES", {"SMTP_AUTH_MAX_FAILURES": "1", **LOGINS})
def auth_max_failures(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        assert wire.ask(login("wrong horse")) == [535]
        assert wire.ask(login(PASSWORD)) == [421]


@respects(
    "SMTP_AUTH_LOCKOUT_TIME",
    {"SMTP_AUTH_MAX_FAILURES": "1", "SMTP_AUTH_LOCKOUT_TIME": "0", **LOGINS},
)
def auth_lockout_time(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        assert wire.ask(login("wrong horse")) == [535]
        assert wire.ask(login(PASSWORD)) == [235]


@respects("SMTP_PROXY_PROTOCOL", {"SMTP_PROXY_PROTOCOL": "0.0.0.0/0"}, is_awaited=False)
def proxy_protocol(box: Box, _trust: ssl.SSLContext) -> None:
    assert box.prixfixe("wait").code == 0
    with box.connect() as wire:
        wire.send(b"PROXY TCP4 203.0.113.7 203.0.113.8 4567 25\r\n")
        assert wire.reply().startswith(b"220 ")
        assert wire.ask(b"HELO client.test\r\n") == [250]
        deliver(wire, body_of(100))
    assert box.messages()[0].facts["Peer"] == "203.0.113.7:4567"


# --- the store


@respects("SMTP_STORE", {"SMTP_STORE": "maildir:/var/mail/box"})
def store(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        deliver(wire, body_of(100))
    assert box.python("import os; print(len(os.listdir('/var/mail/box/new')))") == "1\n"
    assert box.python("import os; print(os.path.exists('/var/mail/prixfixe.db'))") == "False\n"


@respects("SMTP_STORE_MAX_MESSAGES", {"SMTP_STORE_MAX_MESSAGES": "2"})
def store_max_messages(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        names = [deliver(wire, body_of(100)) for _ in range(3)]
    assert [one.id for one in box.messages()] == names[1:]


@respects("SMTP_STORE_MAX_AGE", {"SMTP_STORE_MAX_AGE": "0.5s"})
def store_max_age(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        name = deliver(wire, body_of(100))
    path = f"/api/v1/message/{name}/raw"  # the list may name it while it ends
    eventually(lambda: box.http(path).status == 404, what="the end of an old message")


@respects("SMTP_STORE_QUORUM", {"SMTP_STORE_QUORUM": "2"})
def store_quorum(box: Box, _trust: ssl.SSLContext) -> None:
    """A store of one machine has no standbys, and says so."""
    [record] = box.logged("setting without effect")
    assert "SMTP_STORE_QUORUM" in record["reason"]


@respects("SMTP_STORE_MIN_FREE", {"SMTP_STORE_MIN_FREE": "1000TiB"})
def store_min_free(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        envelope(wire)
        wire.send(b"x\r\n.\r\n")
        assert wire.reply().startswith(b"452 4.3.1 ")
    assert box.http("/readyz").status == 503


# --- handlers and faults

HANDLER = {"SMTP_HANDLER": "refuser:Refuser", "SMTP_HANDLER_PATH": "/run/secrets"}


@respects("SMTP_HANDLER", HANDLER)
@respects("SMTP_HANDLER_PATH", HANDLER)
def handler(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        assert wire.ask(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n", 2) == [250, 550]


@respects("SMTP_FAULTS", {"SMTP_FAULTS": "true"})
def faults(box: Box, _trust: ssl.SSLContext) -> None:
    assert box.http("/api/v1/faults").status == 200
    with box.hello() as wire:
        assert wire.ask(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<fault-451@y.test>\r\n", 2) == [250, 451]


# --- what it tells


@respects("SMTP_HTTP_TOKEN", {"SMTP_HTTP_TOKEN": "open-sesame"})
def http_token(box: Box, _trust: ssl.SSLContext) -> None:
    assert box.http("/api/v1/messages").status == 401
    assert box.http("/api/v1/messages", Authorization="Bearer wrong").status == 401
    assert box.http("/api/v1/messages", Authorization="Bearer open-sesame").status == 200
    assert box.http("/readyz").status == 200
    assert "open-sesame" not in box.prixfixe("config").output


@respects("SMTP_HTTP_HOSTS", {"SMTP_HTTP_HOSTS": "mail.example.com"})
def http_hosts(box: Box, _trust: ssl.SSLContext) -> None:
    assert box.http("/api/v1/messages", Host="mail.example.com").status == 200
    assert box.http("/api/v1/messages", Host="other.example.com").status == 421
    assert box.http("/readyz", Host="other.example.com").status == 200


@respects("SMTP_HTTP_UI", {"SMTP_HTTP_UI": "off"})
def http_ui(box: Box, _trust: ssl.SSLContext) -> None:
    assert box.http("/").status == 404
    assert box.http("/view/latest.html").status == 404
    assert box.http("/api/v1/messages").status == 200


@respects("SMTP_LOG_LEVEL", {"SMTP_LOG_LEVEL": "warning", "SMTP_MAX_CONNECTIONS": "1"})
def log_level(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        deliver(wire, body_of(100))
        with box.connect() as second:  # heard out, or it may be gone before it is looked at
            assert second.reply().startswith(b"421 ")
    box.logged("connection refused")
    assert {record["level"] for record in box.records()} == {"warning"}


@respects("SMTP_LOG_FORMAT", {"SMTP_LOG_FORMAT": "text"})
def log_format(box: Box, _trust: ssl.SSLContext) -> None:
    box.is_trouble_expected = True  # no record is JSON
    with box.hello() as wire:
        deliver(wire, body_of(100))
    pattern = r"^\d{4}-\d\d-\d\dT[\d:.]+Z info +message kept session=\w+ id=\w+ "
    eventually(lambda: re.search(pattern, box.logs(), re.MULTILINE), what="the record as text")


@respects("SMTP_LOG_ADDRESSES", {"SMTP_LOG_ADDRESSES": "domain"})
def log_addresses(box: Box, _trust: ssl.SSLContext) -> None:
    with box.hello() as wire:
        deliver(wire, body_of(100), sender="somebody@a.test")
    (record,) = box.logged("message kept")
    assert record["sender"] == "*@a.test"
    assert "somebody" not in box.logs()
