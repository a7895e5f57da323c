"""A small SMTP client: one connection, as fast as asyncio's streams go.

Owns: the dialogue of a client that sends valid mail. Promises: a reply that was not hoped for is a
`ReplyError` with its code; every wait has a limit. Refuses: retrying, and judging what came back.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prixfixe.load.post import Letter

__all__ = ["Client", "ReplyError"]


class ReplyError(Exception):
    """The server answered with another code than the step needs."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class Client:
    """One connection to HOST:PORT."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self._address = (host, port)
        self._timeout = timeout

    async def open(self, *, starttls: bool = False, login: tuple[str, str] | None = None) -> None:
        """Connect, say EHLO, and go into TLS and log in when asked to."""
        connecting = asyncio.open_connection(*self._address)
        self._reader, self._writer = await asyncio.wait_for(connecting, self._timeout)
        await self._expect(220)
        await self._ask(b"EHLO load.test\r\n", 250)
        if starttls:
            await self._ask(b"STARTTLS\r\n", 220)
            context = ssl.create_default_context()
            context.check_hostname = False  # Load goes to servers under test, with any certificate.
            context.verify_mode = ssl.CERT_NONE
            await asyncio.wait_for(self._writer.start_tls(context), self._timeout)
            await self._ask(b"EHLO load.test\r\n", 250)
        if login is not None:
            plain = base64.b64encode("\0{}\0{}".format(*login).encode())
            await self._ask(b"AUTH PLAIN " + plain + b"\r\n", 235)

    async def send(self, letter: Letter, *, is_piped: bool = False) -> int:
        """Send one message; return the code that answers its data."""
        if is_piped:
            self._writer.write(letter.mail + letter.rcpt + b"DATA\r\n")
            codes = [await self._code() for _ in range(3)]
            self._check(codes)
        else:
            await self._ask(letter.mail, 250)
            await self._ask(letter.rcpt, 250)
            await self._ask(b"DATA\r\n", 354)
        self._writer.write(letter.data)
        await asyncio.wait_for(self._writer.drain(), self._timeout)
        return await self._code()

    async def close(self) -> None:
        """Say QUIT, whatever the server makes of it, and close."""
        try:
            await self._ask(b"QUIT\r\n", 221)
        except (OSError, EOFError, TimeoutError, ReplyError):
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if hasattr(self, "_writer"):
            self._writer.close()

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
        async with asyncio.timeout(self._timeout):
            while True:
                line = await self._reader.readline()
                if not line.endswith(b"\n"):
                    raise EOFError("the server closed the connection")
                if line[3:4] != b"-":
                    return int(line[:3])
