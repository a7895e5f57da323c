"""A model of the session that RFC 5321 describes, to compare a server with.

It says which reply codes are due to each command in each state, and which messages are stored. It
is written from RFC 5321 section 4.1.4 and docs/smtp.md, not from the server's code.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["MOVES", "SETTINGS", "Model", "fruitful"]

MOST_OCTETS, MOST_RECIPIENTS, MOST_ERRORS, MOST_LOGINS = 1024, 3, 8, 5
SETTINGS = {
    "SMTP_MAX_MESSAGE_SIZE": str(MOST_OCTETS),
    "SMTP_MAX_RECIPIENTS": str(MOST_RECIPIENTS),
    "SMTP_MAX_ERRORS": str(MOST_ERRORS),
    "SMTP_RECIPIENTS": "@y.test,@ü.test",
}


@dataclass
class Model:
    """A session: what was said so far. `can_login` and `can_encrypt` are what is offered."""

    can_login: bool = True
    can_encrypt: bool = True
    greeting: str = ""
    is_encrypted: bool = False
    is_known: bool = False
    sender: str | None = None
    is_utf8: bool = False
    recipients: list[str] = field(default_factory=list)
    chunks: bytes | None = None
    kept: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    errors: int = 0
    failed_logins: int = 0
    is_over: bool = False

    def _due(self, *codes: int) -> list[int]:
        """Count errors; the last allowed one is followed by 421 and the end."""
        due = []
        for code in codes:
            due.append(code)
            self.errors += code >= 500
            if self.errors >= MOST_ERRORS:
                self.is_over = True
                return [*due, 421]
        return due

    def _forget(self) -> None:
        self.sender, self.is_utf8, self.recipients, self.chunks = None, False, [], None

    def plain(self, line: bytes, code: int) -> tuple[bytes, list[int]]:
        """Play a command that is answered the same in every state."""
        return line + b"\r\n", self._due(code)

    def hello(self, verb: str) -> tuple[bytes, list[int]]:
        self.greeting = verb
        self._forget()
        return f"{verb} c.test\r\n".encode(), self._due(250)

    def rset(self) -> tuple[bytes, list[int]]:
        self._forget()
        return b"RSET\r\n", self._due(250)

    def quit(self) -> tuple[bytes, list[int]]:
        self.is_over = True
        return b"QUIT\r\n", [221]

    def mail(self, path: str, parameters: str = "", code: int = 250) -> tuple[bytes, list[int]]:
        line = f"MAIL FROM:{path}{parameters}\r\n".encode()
        if not self.greeting or self.sender is not None:
            return line, self._due(503)
        if parameters and self.greeting == "HELO" and code != 501:
            return line, self._due(555)
        if code == 250:
            self.sender, self.is_utf8 = path[1:-1], "SMTPUTF8" in parameters
        return line, self._due(code)

    def rcpt(self, path: str, parameters: str = "", code: int = 250) -> tuple[bytes, list[int]]:
        line = f"RCPT TO:{path}{parameters}\r\n".encode()
        if self.sender is None or self.chunks is not None:
            return line, self._due(503)
        if parameters and self.greeting == "HELO" and code != 501:
            return line, self._due(555)
        if not path.isascii() and not self.is_utf8:
            return line, self._due(553)
        if code == 250 and len(self.recipients) >= MOST_RECIPIENTS:
            code = 452
        if code == 250:
            self.recipients.append(path[1:-1])
        return line, self._due(code)

    def _verdict(self, body: bytes) -> int:
        if len(body) > MOST_OCTETS:
            return 552
        lone = body.replace(b"\r\n", b"")
        return 550 if b"\r" in lone or b"\n" in lone else 250

    def _end(self, body: bytes) -> int:
        code = self._verdict(body)
        if code == 250:
            self.kept.append((self.sender or "", self.recipients, body))
        self._forget()
        return code

    def data(self, lines: list[bytes], dot: bytes = b".") -> tuple[bytes, list[int]]:
        """Play a message; `dot` is what a client puts before a line that begins with a dot."""
        if self.sender is None or self.chunks is not None or not self.recipients:
            return b"DATA\r\n", self._due(503)
        sent = [dot * line.startswith(b".") + line + b"\r\n" for line in lines]
        body = b"".join(line.removeprefix(b".") for line in sent)
        return b"DATA\r\n" + b"".join(sent) + b".\r\n", [354, *self._due(self._end(body))]

    def bdat(self, chunk: bytes, last: str = "") -> tuple[bytes, list[int]]:
        octets = f"BDAT {len(chunk)}{last}\r\n".encode() + chunk
        if self.sender is None or not self.recipients:
            self._forget()
            return octets, self._due(503)
        self.chunks = (self.chunks or b"") + chunk
        if len(self.chunks) > MOST_OCTETS:
            self._forget()
            return octets, self._due(552)
        return octets, self._due(self._end(self.chunks) if last else 250)

    def starttls(self) -> tuple[bytes, list[int]]:
        """Only ever the last of a batch: what follows in clear is dropped."""
        if self.is_encrypted or not self.can_encrypt:
            return b"STARTTLS\r\n", self._due(503 if self.is_encrypted else 502)
        self.is_encrypted, self.greeting, self.is_known = True, "", False
        self._forget()
        return b"STARTTLS\r\n", self._due(220)

    def auth(self, response: bytes, code: int) -> tuple[bytes, list[int]]:
        line = b"AUTH PLAIN " + response + b"\r\n"
        if not self.can_login:
            return line, self._due(502)
        if self.greeting != "EHLO" or self.is_known or self.sender is not None:
            return line, self._due(503)
        self.is_known = code == 235
        due = self._due(code)
        self.failed_logins += code == 535
        if self.failed_logins >= MOST_LOGINS and not self.is_over:
            self.is_over = True
            due.append(421)
        return line, due


Move = Callable[[Model], tuple[bytes, list[int]]]

MOVES: dict[str, Move] = {
    "HELO": lambda m: m.hello("HELO"),
    "EHLO": lambda m: m.hello("EHLO"),
    "EHLO with two names": lambda m: m.plain(b"EHLO c d", 501),
    "MAIL": lambda m: m.mail("<a@x.test>"),
    "MAIL with parameters": lambda m: m.mail("<b@x.test>", " SIZE=1024 BODY=8BITMIME RET=HDRS"),
    "MAIL of nobody": lambda m: m.mail("<>"),
    "MAIL in UTF-8": lambda m: m.mail("<é@x.test>", " SMTPUTF8"),
    "MAIL in UTF-8 undeclared": lambda m: m.mail("<é@x.test>", code=553),
    "MAIL without brackets": lambda m: m.mail("a@x.test", code=501),
    "MAIL too big": lambda m: m.mail("<a@x.test>", " SIZE=1025", 552),
    "MAIL with nonsense": lambda m: m.mail("<a@x.test>", " FOO=1", 555),
    "RCPT": lambda m: m.rcpt("<u@y.test>"),
    "RCPT of another": lambda m: m.rcpt("<v@y.test>"),
    "RCPT with parameters": lambda m: m.rcpt("<w@y.test>", " NOTIFY=NEVER"),
    "RCPT in UTF-8": lambda m: m.rcpt("<ä@ü.test>"),
    "RCPT of postmaster": lambda m: m.rcpt("<Postmaster>"),
    "RCPT elsewhere": lambda m: m.rcpt("<u@z.test>", code=550),
    "RCPT of nobody": lambda m: m.rcpt("<>", code=501),
    "RCPT without end": lambda m: m.rcpt("<u@y.test", code=501),
    "DATA": lambda m: m.data([b"Subject: x", b"", b".", b"..", b".x", b"QUIT"]),
    "DATA of a client that doubles no dots": lambda m: m.data([b".x", b"..", b".QUIT"], b""),
    "DATA of nothing": lambda m: m.data([]),
    "DATA of the limit": lambda m: m.data([b"." * 1022]),
    "DATA over the limit": lambda m: m.data([b"." * 1023]),
    "DATA with a lone LF": lambda m: m.data([b"a\nb"]),
    "DATA with a lone CR": lambda m: m.data([b"", b".\r", b"QUIT"]),
    "BDAT": lambda m: m.bdat(b"one\r\n.\r\nQUIT\r\n"),
    "BDAT of nothing": lambda m: m.bdat(b""),
    "BDAT of half a line end": lambda m: m.bdat(b"x\r"),
    "BDAT of the other half, last": lambda m: m.bdat(b"\nx", " LAST"),
    "BDAT of much": lambda m: m.bdat(b"y" * 700),
    "BDAT last": lambda m: m.bdat(b"end\r\n", " LAST"),
    "BDAT of nothing, last": lambda m: m.bdat(b"", " LAST"),
    "RSET": lambda m: m.rset(),
    "NOOP": lambda m: m.plain(b"noop x", 250),
    "VRFY": lambda m: m.plain(b"VRFY x", 252),
    "HELP": lambda m: m.plain(b"Help", 214),
    "EXPN": lambda m: m.plain(b"EXPN x", 502),
    "an unknown command": lambda m: m.plain(b"FOO", 500),
    "a lone LF": lambda m: (b"NOOP\n", m.plain(b"", 500)[1]),
    "STARTTLS": lambda m: m.starttls(),
    "AUTH": lambda m: m.auth(b"AHUAc2VjcmV0", 235),
    "AUTH wrongly": lambda m: m.auth(b"AHUAd3Jvbmc=", 535),
    "QUIT": lambda m: m.quit(),
}


def fruitful(model: Model) -> list[str]:
    """Return the moves that change the state and are not refused; others lead nowhere."""
    found = []
    for name, move in MOVES.items():
        after = copy.deepcopy(model)
        codes = move(after)[1]
        if after != model and not after.is_over and max(codes) < 400:
            found.append(name)
    return found
