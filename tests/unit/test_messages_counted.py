"""Every message that is refused is counted once, under its true reason, and told in the log."""

import pytest

from prixfixe.telemetry.events import EVENTS
from prixfixe.telemetry.metrics_table import TABLE
from tests.conftest import until

MAIL = b"MAIL FROM:<a@x.test>\r\n"
RCPT = b"RCPT TO:<b@y.test>\r\n"
NOBODY = b"RCPT TO:<nobody@elsewhere.test>\r\n"
START = MAIL + RCPT + b"DATA\r\n"
BODY = b"x\r\n.\r\n"
AUTH = {
    "SMTP_AUTH": "optional",
    "SMTP_AUTH_INSECURE": "1",
}
ALLOWED = {"SMTP_RECIPIENTS": "@y.test"}
SMALL = {"SMTP_MAX_MESSAGE_SIZE": "1024"}

# name: (settings, what a client says after EHLO, what is counted then)
REFUSED = {
    "declared too big": (SMALL, MAIL[:-2] + b" SIZE=2000\r\n", ["size"]),
    "too big": (SMALL, START + b"x" * 2000 + b"\r\n.\r\n", ["size"]),
    "a chunk too big": (SMALL, MAIL + RCPT + b"BDAT 2000 LAST\r\n" + b"x" * 2000, ["size"]),
    "a chunk too big to drop": (SMALL, MAIL + RCPT + b"BDAT 99000000 LAST\r\n", ["size"]),
    "a bare LF": ({}, START + b"a\nb\r\n.\r\n", ["bare_lf"]),
    "a bare CR": ({}, START + b"a\rb\r\n.\r\n", ["content"]),
    "a long line": ({"SMTP_STRICT": "1"}, START + b"x" * 999 + b"\r\n.\r\n", ["content"]),
    "a loop": ({}, START + b"Received: x\r\n" * 101 + b"\r\n.\r\n", ["content"]),
    "nobody here": (ALLOWED, MAIL + NOBODY, ["recipient"]),
    "nobody here, all at once": (ALLOWED, MAIL + NOBODY + NOBODY + b"DATA\r\n", ["recipient"]),
    "nobody here, reset": (ALLOWED, MAIL + NOBODY + b"RSET\r\n", ["recipient"]),
    "nobody here, by chunks": (ALLOWED, MAIL + NOBODY + b"BDAT 1 LAST\r\nx", ["recipient"]),
    "nobody here, then again": (ALLOWED, (MAIL + NOBODY + b"EHLO c\r\n") * 2, ["recipient"] * 2),
    "one of two": (ALLOWED, MAIL + NOBODY + RCPT + b"DATA\r\n" + BODY, []),
    "one of two, too big": (
        ALLOWED | SMALL,
        MAIL + NOBODY + RCPT + b"BDAT 2000 LAST\r\n" + b"x" * 2000,
        ["size"],
    ),
    "a bad sender": ({}, b"MAIL FROM:<a@>\r\n", ["syntax"]),
    "a bad parameter": ({}, MAIL[:-2] + b" FOO=1\r\n", ["syntax"]),
    "a bad recipient": ({}, MAIL + b"RCPT TO:<>\r\n", ["syntax"]),
    "bad chunk": ({}, MAIL + RCPT + b"BDAT x\r\n", ["syntax"]),
    "no recipient": ({}, MAIL + b"DATA\r\n", ["sequence"]),
    "MAIL in MAIL": ({}, MAIL + MAIL + RCPT + b"DATA\r\n" + BODY, ["sequence"]),
    "no login": (AUTH | {"SMTP_AUTH": "required"}, START, ["auth"]),
    "no TLS": ({"SMTP_TLS": "required", "SMTP_TLS_CERT": "self-signed"}, START, ["tls"]),
    "given up": ({}, MAIL + RCPT + b"RSET\r\n", []),
    "nothing to do with it": ({}, RCPT + b"DATA\r\nBDAT 1 LAST\r\nxFOO\r\nVRFY\r\n", []),
}


def counted(running, result):
    counts = running.server.metrics.series()["messages"].counts
    return [
        reason
        for (_, of, reason), count in counts.items()
        for _ in range(int(count))
        if of == result
    ]


@pytest.mark.parametrize(("variables", "octets", "reasons"), REFUSED.values(), ids=REFUSED)
async def test_a_refused_message_is_counted_once(start, tmp_path, variables, octets, reasons):
    running = await start(**variables, **_users(variables, tmp_path))
    wire = await running.say_hello()
    await wire.send(octets + b"QUIT\r\n")
    await wire.rest()
    await until(lambda: not running.server.roster.connections)
    assert counted(running, "rejected") == reasons
    assert [one["reason"] for one in running.logged("message refused")] == reasons
    assert counted(running, "aborted") == counted(running, "deferred") == []


def _users(variables, folder):
    from prixfixe.auth.hashes import hash_password

    if "SMTP_AUTH" not in variables:
        return {}
    (folder / "users").write_text(f"u:{hash_password('p')}\n")
    return {"SMTP_AUTH_USERS": str(folder / "users")}


async def test_a_body_that_never_ends_is_aborted_not_refused(start):
    running = await start(**ALLOWED)
    for octets in (START + b"x", MAIL + NOBODY + b"BDAT 5\r\nx"):
        wire = await running.say_hello()
        await wire.send(octets)
        wire.close()
    await until(lambda: not running.server.roster.connections)
    assert counted(running, "aborted") == ["client_gone"] * 2
    assert counted(running, "rejected") == []


async def test_a_message_too_many_is_deferred_by_policy(start):
    running = await start(SMTP_MAX_MESSAGES="1")
    wire = await running.say_hello()
    await wire.send(START + BODY + MAIL)
    await wire.rest()
    assert counted(running, "deferred") == ["policy"]


def test_every_reason_is_tested_and_explained(request):
    (spec,) = [one for one in TABLE if one.name == "messages"]
    tested = {reason for _, _, reasons in REFUSED.values() for reason in reasons}
    others = {"none", "policy", "handler", "store_error", "store_full", "internal", "store_timeout"}
    ends = {"client_gone", "timeout", "shed", "shutdown", "fault"}  # test_faults.py has `fault`
    assert tested | others | ends == set(spec.labels["reason"])
    text = (request.config.rootpath / "docs" / "metrics.md").read_text()
    assert all(f"| `{reason}` |" in text for reason in spec.labels["reason"])
    assert "message refused" in EVENTS
