"""AUTH beyond one line: long credentials, guessing, what the log says."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from prixfixe.verify.dialogue.scram import ScramClient
from prixfixe.verify.dialogue.servers import PASSWORD, USER
from prixfixe.verify.dialogue.specials.dialogues import keywords
from prixfixe.verify.dialogue.specials.tls import secured

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.servers import Target
    from prixfixe.verify.dialogue.wire import Wire

__all__ = [
    "auth_inside_tls",
    "long_credentials",
    "no_auth_without_users",
    "password_guessing",
    "scram_login",
    "secrets_stay_out_of_logs",
]

SECRET = b"hunter2-very-secret"


def _plain(user: bytes, password: bytes) -> bytes:
    return base64.b64encode(b"\0" + user + b"\0" + password)


def long_credentials(target: Target) -> None:
    answer = _plain(b"user@y.test", b"p" * 3000)
    with target.using("A").hello() as wire:
        assert wire.ask(b"AUTH PLAIN " + answer + b"\r\n") == [535]
        assert wire.ask(b"AUTH PLAIN\r\n") == [334]
        assert wire.ask(answer + b"\r\n") == [535]
        assert wire.ask(b"NOOP\r\n") == [250]


def password_guessing(target: Target) -> None:
    with target.using("A").hello() as wire:
        for number in range(50):
            code = wire.ask(b"AUTH PLAIN " + _plain(b"user@y.test", b"%d" % number) + b"\r\n")[0]
            if code == 421:
                return
            assert code == 535
            if wire.has_more(0.05):
                assert wire.reply()[:3] == b"421"
                return
        raise AssertionError("50 guesses allowed")


def no_auth_without_users(target: Target) -> None:
    with secured(target, "T") as wire:
        assert b"AUTH" not in keywords(wire)


def secrets_stay_out_of_logs(target: Target) -> None:
    server = target.using("A")
    hidden = base64.b64encode(SECRET)
    with server.hello() as wire:
        for answer in (
            _plain(b"user@y.test", SECRET),
            _plain(b"\xff\xfe", SECRET),
            base64.b64encode(b"\xff" + SECRET + b"\xff\xfe"),
            b"!" + hidden,
        ):
            assert wire.ask(b"AUTH PLAIN " + answer + b"\r\n")[0] // 100 == 5
    for mechanism, answer in (
        (b"LOGIN", base64.b64encode(b"\xff" + SECRET)),
        (b"LOGIN", b"!" + hidden),
        (b"PLAIN", b"!" + hidden),
        (b"PLAIN", _plain(b"user@y.test", SECRET)[:-1] + b"!"),
        (b"PLAIN", SECRET),
    ):
        with server.hello() as wire:
            assert wire.ask(b"AUTH " + mechanism + b"\r\n") == [334]
            wire.ask(answer + b"\r\n")
    server.is_alive()
    logs = server.logs()
    for form in (SECRET, hidden.rstrip(b"="), _plain(b"user@y.test", SECRET)[:-4]):
        assert form.decode() not in logs, "a secret is in the log"


def auth_inside_tls(target: Target) -> None:
    with secured(target, "S") as wire:
        assert b"PLAIN" in keywords(wire)[b"AUTH"].split()
        assert wire.ask(b"AUTH PLAIN " + _plain(b"user@y.test", b"correct horse") + b"\r\n") == [
            235
        ]
        assert wire.ask(b"MAIL FROM:<a@x.test> AUTH=<>\r\n") == [250]


def scram_login(target: Target) -> None:
    with target.using("K").hello() as wire:
        assert b"SCRAM-SHA-256" in keywords(wire)[b"AUTH"].split()
        wrong = ScramClient(USER, "wrong")
        assert wire.ask(_answer(wire, wrong)) == [535]
        unbound = ScramClient(USER, PASSWORD, header="p=tls-unique,,")
        assert wire.ask(b"AUTH SCRAM-SHA-256 " + base64.b64encode(unbound.first) + b"\r\n") == [501]
        client = ScramClient(USER, PASSWORD)
        assert client.is_server(_asked(wire, _answer(wire, client)))
        assert wire.ask(b"*\r\n") == [501]
        assert client.is_server(_asked(wire, _answer(wire, client)))
        assert wire.ask(b"\r\n") == [235]
        assert wire.ask(b"AUTH SCRAM-SHA-256\r\n") == [503]


def _answer(wire: Wire, client: ScramClient) -> bytes:
    """Begin an exchange; return the line that answers the server's question."""
    first = b"AUTH SCRAM-SHA-256 " + base64.b64encode(client.first) + b"\r\n"
    return base64.b64encode(client.final(_asked(wire, first))) + b"\r\n"


def _asked(wire: Wire, line: bytes) -> bytes:
    wire.send(line)
    code, _, text = wire.reply().rstrip().partition(b" ")
    assert code == b"334"
    return base64.b64decode(text)
