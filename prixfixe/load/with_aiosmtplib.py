"""The driver's client on aiosmtplib, to check the driver's own client against.

A message ends in the same code or error as with `client`. aiosmtplib has no pipelining.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from prixfixe.load.client import ReplyError, any_certificate
from prixfixe.load.post import END

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiosmtplib import SMTPException

    from prixfixe.load.plan import Plan
    from prixfixe.load.post import Letter

__all__ = ["AiosmtplibClient"]


class AiosmtplibClient:
    """A connection to the plan's server; see `prixfixe.load.client.Sender`."""

    def __init__(self, plan: Plan) -> None:
        from aiosmtplib import SMTP  # of an extra

        user, password = plan.login or (None, None)
        self._smtp = SMTP(
            hostname=plan.host,
            port=plan.port,
            local_hostname="load.test",
            timeout=plan.timeout,
            start_tls=plan.starttls,
            tls_context=any_certificate(),
            username=user,
            password=password,
        )

    async def open(self) -> None:
        """See `Sender`."""
        with _translating():
            await self._smtp.connect()

    async def send(self, letter: Letter) -> int:
        """See `Sender`."""
        with _translating():
            await self._smtp.mail(_address(letter.mail))
            await self._smtp.rcpt(_address(letter.rcpt))
            return (await self._smtp.data(_unstuffed(letter.data))).code

    async def close(self) -> None:
        """See `Sender`."""
        try:
            with _translating():
                await self._smtp.quit()
        except (OSError, EOFError, ValueError, ReplyError):
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """See `Sender`."""
        self._smtp.close()


def _address(command: bytes) -> str:
    return command[command.index(b"<") + 1 : command.rindex(b">")].decode()


def _unstuffed(data: bytes) -> bytes:
    """Return the data without dot-stuffing and final dot, which aiosmtplib adds."""
    return (b"\r\n" + data[: -len(END)]).replace(b"\r\n..", b"\r\n.")[2:]


@contextmanager
def _translating() -> Iterator[None]:
    from aiosmtplib import SMTPException

    try:
        yield
    except SMTPException as error:
        raise _translated(error) from error


def _translated(error: SMTPException) -> Exception:
    import aiosmtplib

    if isinstance(error, aiosmtplib.SMTPResponseException):
        return ReplyError(error.code) if error.code > 0 else ValueError(error.message)
    if isinstance(error, aiosmtplib.SMTPServerDisconnected):
        return EOFError(error.message)
    if isinstance(error, aiosmtplib.SMTPTimeoutError):
        return TimeoutError(error.message)
    if isinstance(error.__cause__, OSError):
        return error.__cause__
    return ConnectionError(error.message)
