"""A small SMTP client for one connection, on asyncio's streams."""

from __future__ import annotations

import asyncio
import base64
import ssl
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from prixfixe.load.plan import Plan
    from prixfixe.load.post import Letter

__all__ = ["Client", "ReplyError", "Sender", "any_certificate"]


class ReplyError(Exception):
    """The server answered with an unexpected code."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class Sender(Protocol):
    """One connection of a plan, by the client that the plan names."""

    async def open(self) -> None:
        """Connect and send EHLO; start TLS and log in if the plan says so."""

    async def send(self, letter: Letter) -> int:
        """Send one message; return the reply code to its data."""

    async def close(self) -> None:
        """Send QUIT, ignore errors, and close."""

    def abort(self) -> None:
        """Close at once."""


class Client:
    """A connection to the plan's server; see `Sender`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._timeout = plan.timeout

    async def open(self) -> None:
        """See `Sender`."""
        connecting = asyncio.open_connection(self._plan.host, self._plan.port)
        self._reader, self._writer = await asyncio.wait_for(connecting, self._timeout)
        await self._expect(220)
        offers = await self._hello()
        if self._plan.starttls:
            await self._ask(b"STARTTLS\r\n", 220)
            await asyncio.wait_for(self._writer.start_tls(any_certificate()), self._timeout)
            offers = await self._hello()
        if self._plan.login is not None:
            await self._log_in(offers, *self._plan.login)

    async def send(self, letter: Letter) -> int:
        """See `Sender`."""
        if self._plan.is_piped:
            self._writer.write(letter.mail + letter.rcpt + b"DATA\r\n")
            codes = [await self._code() for _ in range(3)]
            self._check(codes)
        else:
            await self._ask(letter.mail, 250)
            await self._ask(letter.rcpt, 250)
            await self._ask(b"DATA\r\n", 354)
        self._writer.write(letter.data)
        return await self._code()

    async def close(self) -> None:
        """See `Sender`."""
        try:
            await self._ask(b"QUIT\r\n", 221)
        except (OSError, EOFError, TimeoutError, ValueError, ReplyError):
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """See `Sender`."""
        if hasattr(self, "_writer"):
            self._writer.close()

    async def _hello(self) -> list[bytes]:
        """Send EHLO; return the lines of the reply after the first."""
        self._writer.write(b"EHLO load.test\r\n")
        code, lines = await self._reply()
        if code != 250:
            raise ReplyError(code)
        return [line[4:].strip().upper() for line in lines[1:]]

    async def _log_in(self, offers: list[bytes], user: str, password: str) -> None:
        offered = next((line.split()[1:] for line in offers if line.startswith(b"AUTH ")), [])
        if b"PLAIN" in offered or b"LOGIN" not in offered:
            await self._ask(b"AUTH PLAIN %b\r\n" % _base64(f"\0{user}\0{password}"), 235)
            return
        await self._ask(b"AUTH LOGIN\r\n", 334)
        await self._ask(_base64(user) + b"\r\n", 334)
        await self._ask(_base64(password) + b"\r\n", 235)

    @staticmethod
    def _check(codes: list[int]) -> None:
        for code, wanted in zip(codes, (250, 250, 354), strict=True):
            if code != wanted:
                raise ReplyError(code)

    async def _ask(self, line: bytes, wanted: int) -> None:
        self._writer.write(line)
        await self._expect(wanted)

    async def _expect(self, wanted: int) -> None:
        code = await self._code()
        if code != wanted:
            raise ReplyError(code)

    async def _code(self) -> int:
        return (await self._reply())[0]

    async def _reply(self) -> tuple[int, list[bytes]]:
        """Return the code and the lines of a reply."""
        lines: list[bytes] = []
        async with asyncio.timeout(self._timeout):
            while True:
                line = await self._reader.readline()
                if not line.endswith(b"\n"):
                    raise EOFError("the server closed the connection")
                lines.append(line)
                if line[3:4] != b"-":
                    return int(line[:3]), lines


@cache
def any_certificate() -> ssl.SSLContext:
    """Return a context that accepts any certificate: load is for servers under test."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _base64(text: str) -> bytes:
    return base64.b64encode(text.encode())
