"""Every limit and promise on every way in, and every method and path of the API behind its token."""

import contextlib

import pytest

from tests.container.leaving import Check, leaving
from tests.container.talk import body_of, stuffed
from tests.container.waiting import eventually
from tests.container.ways import BODIES, WAYS, connect, enter, environ, hand_over, options, say_mail

pytestmark = pytest.mark.timeout(120)

SIZE, RECIPIENTS, ERRORS, MESSAGES, PLACES = 20_000, 3, 4, 4, 3
LIMITS = {
    "SMTP_MAX_MESSAGE_SIZE": str(SIZE),
    "SMTP_MAX_RECIPIENTS": str(RECIPIENTS),
    "SMTP_MAX_ERRORS": str(ERRORS),
    "SMTP_MAX_MESSAGES": str(MESSAGES),
    "SMTP_MAX_CONNECTIONS": str(PLACES),
    "SMTP_RECIPIENTS": "@example.org",
    "SMTP_STRICT": "true",
    "SMTP_STRESS_TIMEOUT": "0",  # who is inside stays inside
}


# --- limits: each is given a box and a way, and returns what it saw


def declared_size(box, way):
    with enter(box, way) as wire:
        wire.send(b"MAIL FROM:<a@b.test> SIZE=%d\r\n" % (SIZE + 1))
        return [(wire.reply(), b"552 5.3.4 ")]


def size_of_a_body(box, way):
    seen = []
    for by in BODIES:
        with enter(box, way) as wire:
            say_mail(wire)
            seen.append((hand_over(wire, body_of(SIZE + 1), by), b"552 5.3.4 "))
            say_mail(wire)
            seen.append((hand_over(wire, body_of(SIZE), by), b"250 2.0.0 "))
    return seen


def recipients(box, way):
    with enter(box, way) as wire:
        say_mail(wire, RECIPIENTS)
        wire.send(b"RCPT TO:<more@example.org>\r\n")
        return [(wire.reply(), b"452 4.5.3 ")]


def whose_mail(box, way):
    with enter(box, way) as wire:
        assert wire.ask(b"MAIL FROM:<a@b.test>\r\n") == [250]
        wire.send(b"RCPT TO:<x@elsewhere.test>\r\n")
        return [(wire.reply(), b"550 5.1.1 ")]


def errors(box, way):
    with enter(box, way) as wire:
        wire.send(b"WHAT\r\n" * ERRORS)
        replies = [wire.reply() for _ in range(ERRORS + 1)]
        assert wire.end()
    return [(replies[-1], b"421 4.7.0 ")]


def messages(box, way):
    with enter(box, way) as wire:
        for _ in range(MESSAGES):
            say_mail(wire)
            assert hand_over(wire, body_of(100), "BDAT").startswith(b"250 ")
        wire.send(b"MAIL FROM:<a@b.test>\r\n")
        return [(wire.reply(), b"421 4.7.0 ")]


def long_lines(box, way):
    long = b"Subject: long\r\n\r\n" + b"x" * 999 + b"\r\n"
    seen = []
    for by in BODIES:
        with enter(box, way) as wire:
            say_mail(wire)
            seen.append((hand_over(wire, long, by), b"550 5.6.0 "))
    return seen


def long_commands(box, way):
    with enter(box, way) as wire:
        wire.send(b"NOOP " + b"x" * 20_000 + b"\r\nNOOP\r\n")
        return [(wire.reply(), b"500 5.5.2 "), (wire.reply(), b"250 ")]


def connections(box, way):
    with contextlib.ExitStack() as stack:
        for _ in range(PLACES):  # those of the check before may take a moment to be free
            stack.enter_context(eventually(lambda: seated(box, way), what="a free place"))
        with connect(box, way) as late:
            return [(late.reply(), b"421 4.3.2 ")]


def seated(box, way):
    with contextlib.suppress(AssertionError):  # 421 instead of the greeting
        return enter(box, way)


HELD = {
    declared_size: Check("PF-LIM-001", "P4, RFC 1870 6", "a declared size over the limit"),
    size_of_a_body: Check("PF-LIM-002", "P4, RFC 1870 6", "a body over the limit"),
    recipients: Check("PF-LIM-003", "P4, RFC 5321 4.5.3.1.10", "a recipient too many"),
    whose_mail: Check("PF-LIM-004", "RFC 5321 3.3", "a recipient of somebody else's"),
    errors: Check("PF-LIM-005", "P4, RFC 5321 4.3.2", "an error too many"),
    messages: Check("PF-LIM-006", "P4, RFC 5321 4.3.2", "a message too many"),
    long_lines: Check("PF-LIM-007", "RFC 5321 4.5.3.1.6", "a line of 999 octets where 998 are"),
    long_commands: Check("PF-LIM-008", "P4, RFC 5321 4.5.3.1.4", "a command without an end"),
    connections: Check("PF-LIM-009", "P4, RFC 5321 4.2.1", "a connection too many"),
}


@pytest.fixture
def on(start):
    """Start a server that this way leads into."""

    def start_one(way, **settings):
        box = start(environ(way, **settings), **options(way))
        box.logged("ready")  # a server without room never is, as `wait` sees it
        return box

    return start_one


@pytest.mark.parametrize("way", WAYS)
def test_every_limit_holds_on_every_way(on, way):
    box = on(way, **LIMITS)
    for limit, check in HELD.items():
        with leaving(check, way) as seen:
            seen["replies"] = limit(box, way)
            for reply, wanted in seen["replies"]:
                assert reply.startswith(wanted), (check, reply)


IDLE = Check("PF-LIM-010", "P4, RFC 5321 4.5.3.2", "silence in the middle of a message")


@pytest.mark.parametrize("way", WAYS)
def test_silence_is_ended_on_every_way_and_keeps_nothing(on, way):
    box = on(way, SMTP_TIMEOUT="2")
    with leaving(IDLE, way) as seen:
        seen["said"] = {by: silent(box, way, by) for by in ("DATA", "BDAT")}
        assert all(said.startswith(b"421 4.4.2 ") for said in seen["said"].values())
        assert box.messages() == []


def silent(box, way, by):
    """Send a part of a message; return what is said about what does not come."""
    with enter(box, way) as wire:
        say_mail(wire)
        if by == "DATA":
            assert wire.ask(b"DATA\r\n") == [354]
        wire.send(b"BDAT 1000 LAST\r\nhalf" if by == "BDAT" else b"half")
        said = wire.reply()
        assert wire.end()
    return said


# --- promises

SACRED = Check("PF-PRO-001", "P1, P2, RFC 5321 4.5.2, RFC 3030 2", "a body is kept to the octet")
DOUBT = Check("PF-PRO-003", "P3, RFC 5321 4.2.5", "without room mail is 452")
STOP = Check("PF-PRO-006", "P6, RFC 5321 3.8", "a message under way is finished by a stop")


@pytest.mark.parametrize("way", WAYS)
def test_a_body_is_kept_to_the_octet_on_every_way(on, way):
    box = on(way)
    with leaving(SACRED, way) as seen, enter(box, way) as wire:
        bodies = [body_of(5000 + number) for number in range(len(BODIES))]
        for body, by in zip(bodies, BODIES, strict=True):
            say_mail(wire)
            seen[by] = hand_over(wire, body, by)
            assert seen[by].startswith(b"250 2.0.0 "), seen
        assert [one.body for one in box.messages()] == bodies


@pytest.mark.parametrize("way", WAYS)
def test_without_room_mail_is_deferred_on_every_way(on, way):
    box = on(way, SMTP_STORE_MIN_FREE="1000TiB")
    with leaving(DOUBT, way) as seen:
        for by in BODIES:
            with enter(box, way) as wire:
                say_mail(wire)
                seen[by] = hand_over(wire, body_of(200), by)
                assert seen[by].startswith(b"452 4.3.1 "), seen
        assert box.messages() == []


@pytest.mark.parametrize("way", WAYS)
def test_a_message_under_way_is_finished_by_a_stop_on_every_way(on, way):
    box, body = on(way), body_of(3000)
    with leaving(STOP, way) as seen:
        with enter(box, way) as wire:
            say_mail(wire)
            assert wire.ask(b"DATA\r\n") == [354]
            wire.send(stuffed(body)[:-3])
            box.signal("SIGTERM")
            box.logged("stopping")
            wire.send(b".\r\n")
            seen["reply"] = wire.reply()
        assert seen["reply"].startswith(b"250 2.0.0 "), seen
        seen["exit code"] = box.exit_code()
        assert seen["exit code"] == 0


# --- the API

TOKEN = "open-sesame"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PATHS = (
    *(
        "messages",
        "search?query=subject:x",
        "wait?query=subject:x&timeout=0.1",
        "info",
        "message/latest",
    ),
    *("message/{id}", "message/{id}/raw", "message/{id}/headers", "message/{id}/envelope"),
    *("message/{id}/part/0", "messages/", "no-such-path", "message/{id}/no-such-path"),
)
WRONG = {
    "none": {},
    "another": {"Authorization": "Bearer open-sesamE"},
    "a part": {"Authorization": "Bearer open-sesam"},
    "blank": {"Authorization": "Bearer "},
    "another scheme": {"Authorization": "Basic open-sesame"},
}
GUARDED = Check(
    "PF-API-001", "RFC 6750 3, RFC 9110 15.5.2", "the API answers nobody without the token"
)
OPENED = Check("PF-API-002", "RFC 6750 2.1", "the API answers who has the token")


def test_every_method_and_path_of_the_api_asks_for_the_token(start):
    box = start({"SMTP_HTTP_TOKEN": TOKEN})
    with box.hello() as wire:
        say_mail(wire)
        name = hand_over(wire, body_of(100), "DATA").split()[-1].decode()
    with leaving(GUARDED, "every method and path") as seen:
        for method in METHODS:
            for path in PATHS:
                url = "/api/v1/" + path.format(id=name)
                for kind, headers in WRONG.items():
                    seen[f"{method} {path}, {kind}"] = box.http(url, method, **headers).status
        assert {one: status for one, status in seen.items() if status != 401} == {}
    with leaving(OPENED, "every method and path") as seen:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        kept = box.http(f"/api/v1/message/{name}", **headers)
        seen["kept"] = kept.status
        assert kept.status == 200, "it was deleted by a client without the token"
        for path in PATHS[:-3]:
            seen[path] = box.http("/api/v1/" + path.format(id=name), **headers).status
            assert seen[path] != 401, seen
        seen["deleted"] = box.http("/api/v1/messages", "DELETE", **headers).status
        assert seen["deleted"] in (200, 204)
