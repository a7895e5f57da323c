"""An address that one test alone uses, the mail that comes to it, and what was refused."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING, overload

from prixfixe.mail.folding import fold
from prixfixe.testing.access import Access
from prixfixe.testing.attempts import attempts
from prixfixe.testing.environment import token
from prixfixe.testing.errors import KitError, MailNotFoundError, UnexpectedMailError
from prixfixe.testing.explain import Findings, explained, listed
from prixfixe.testing.faults import Faults
from prixfixe.testing.in_thread import in_thread
from prixfixe.testing.message import Message
from prixfixe.testing.times import seconds_of
from prixfixe.testing.wanted import Wanted, place_of

if TYPE_CHECKING:
    from datetime import datetime

    from prixfixe.testing.access import Accessible
    from prixfixe.testing.attempts import Attempt

__all__ = ["Inbox"]

_NO_LOCAL = re.compile(r"[^a-z0-9]+")
_MAX_LOCAL = 40
_MAX_SHOWN = 1000  # attempts of an address that are asked for
SETTLE_SECONDS = 10.0  # that an open transaction may take to end


class Inbox:
    """A fresh domain with one address; no other test's mail gets into it.

    Args:
        server: a `Server`, a `PrixFixeContainer`, or the URL of a server's HTTP API. The token of
            that API, if it has one, is the environment's `PRIXFIXE_TOKEN`.
        name: the local part of the address.

    """

    def __init__(self, server: Accessible | str, name: str = "inbox") -> None:
        self._access = _access(server)
        self.domain = f"{secrets.token_hex(5)}.example.com"
        self.address = self.new_address(name)
        self._begin = self._access.source.now()
        self._count = 0
        self.faults = Faults(self._access, self.address)

    def __repr__(self) -> str:
        return f"<Inbox {self.address}>"

    def __str__(self) -> str:
        return self.address

    def new_address(self, local: str | None = None) -> str:
        """Return an address of this inbox: any local part at its domain is one.

        Without `local` each call returns another one.
        """
        if local is None:
            self._count += 1
            local = f"user{self._count}"
        name = _NO_LOCAL.sub("-", local.lower()).strip("-")[:_MAX_LOCAL].strip("-")
        if not name:
            raise KitError(f"new_address({local!r}): expected letters or digits")
        return f"{name}@{self.domain}"

    # --- mail

    @property
    def messages(self) -> list[Message]:
        """All mail of this inbox, oldest first, without waiting."""
        found = self._access.source.found(Wanted(domain=self.domain), self._begin)
        return [Message(one) for one in found]

    @overload
    def wait(
        self,
        *,
        to: str | None = None,
        sender: str | None = None,
        subject: str | None = None,
        query: str | None = None,
        since: Message | str | datetime | None = None,
        timeout: float | str = 10,
        count: None = None,
    ) -> Message: ...

    @overload
    def wait(
        self,
        *,
        to: str | None = None,
        sender: str | None = None,
        subject: str | None = None,
        query: str | None = None,
        since: Message | str | datetime | None = None,
        timeout: float | str = 10,
        count: int,
    ) -> list[Message]: ...

    def wait(  # noqa: PLR0913 - docs/testing.md names them
        self,
        *,
        to: str | None = None,
        sender: str | None = None,
        subject: str | None = None,
        query: str | None = None,
        since: Message | str | datetime | None = None,
        timeout: float | str = 10,
        count: int | None = None,
    ) -> Message | list[Message]:
        """Return the first message that is wanted, as soon as it is stored.

        Mail that came since this inbox began counts, also before this call. The same call again
        returns the same message.

        Args:
            to: a recipient, as a whole; also one outside this inbox. A text without `@` is a
                local part at the inbox's domain. By default, anybody at that domain.
            sender: the author's address, as a whole.
            subject: the whole subject; case does not matter.
            query: a query of the API, such as `subject:welcome has:attachment`.
            since: a message, its id or a time, after which mail counts.
            timeout: seconds, or a text such as "500ms" or "2s".
            count: how many messages are wanted; the answer is then a list, oldest first.

        Raises:
            MailNotFoundError: it did not come in time; the text says what there was instead.
            KitError: an argument cannot be understood.

        """
        __tracebackhide__ = True
        wanted = self._wanted(to, sender, subject, query, since)
        found = self._waited(wanted, _count(count), seconds_of("timeout", timeout))
        return found[0] if count is None else found

    @overload
    async def wait_async(
        self,
        *,
        to: str | None = None,
        sender: str | None = None,
        subject: str | None = None,
        query: str | None = None,
        since: Message | str | datetime | None = None,
        timeout: float | str = 10,
        count: None = None,
    ) -> Message: ...

    @overload
    async def wait_async(
        self,
        *,
        to: str | None = None,
        sender: str | None = None,
        subject: str | None = None,
        query: str | None = None,
        since: Message | str | datetime | None = None,
        timeout: float | str = 10,
        count: int,
    ) -> list[Message]: ...

    async def wait_async(  # noqa: PLR0913 - as `wait`
        self,
        *,
        to: str | None = None,
        sender: str | None = None,
        subject: str | None = None,
        query: str | None = None,
        since: Message | str | datetime | None = None,
        timeout: float | str = 10,
        count: int | None = None,
    ) -> Message | list[Message]:
        """Do what `wait` does, without holding up the event loop."""
        __tracebackhide__ = True

        wanted = self._wanted(to, sender, subject, query, since)
        most, seconds = _count(count), seconds_of("timeout", timeout)
        found = await in_thread(lambda: self._waited(wanted, most, seconds))
        return found[0] if count is None else found

    def _waited(self, wanted: Wanted, count: int, seconds: float) -> list[Message]:
        __tracebackhide__ = True
        found = self._access.source.wait(wanted, self._begin, count, seconds)
        if len(found) < count:
            raise MailNotFoundError(self._explain(wanted, len(found), count, seconds))
        return [Message(one) for one in found[:count]]

    def _wanted(
        self,
        to: str | None,
        sender: str | None,
        subject: str | None,
        query: str | None,
        since: Message | str | datetime | None,
    ) -> Wanted:
        if to is not None and to and "@" not in to:
            to = f"{to}@{self.domain}"
        is_own = to is None or fold(to).rpartition("@")[2] == self.domain
        place = None if since is None else place_of(since)
        wanted = Wanted(self.domain if is_own else None, to, sender, subject, query, place)
        wanted.check()
        return wanted

    def _explain(self, wanted: Wanted, came: int, count: int, seconds: float) -> str:
        source, api = self._access.source, self._access.api
        stored = source.found(Wanted(domain=wanted.domain, to=wanted.to), self._begin)
        if wanted.domain is not None:
            stored = source.found(Wanted(domain=wanted.domain), self._begin)
        findings = Findings(
            stored=stored,
            elsewhere=source.elsewhere(self.domain, self._begin),
            refused=attempts(api, domain=wanted.domain, to=wanted.to),
        )
        return explained(wanted, came, count, seconds, findings)

    # --- what did not come

    @property
    def refused(self) -> list[Attempt]:
        """The attempts to send to this inbox that were refused or broken off, oldest first."""
        return attempts(self._access.api, domain=self.domain)

    def assert_none(self, *, within: float | str | None = None, sender: str | None = None) -> None:
        """Assert that there is no mail in this inbox.

        It returns as soon as no client is about to send to this inbox.

        Args:
            within: how long mail may still come, for senders that connect later: seconds, or a
                text such as "2s".
            sender: look at mail of this author alone, and wait until this sender's sessions ended.

        Raises:
            UnexpectedMailError: there is mail; the text lists it.

        """
        __tracebackhide__ = True
        wanted = self._wanted(None, sender, None, None, None)
        seconds = 0.0 if within is None else seconds_of("within", within)
        source = self._access.source
        found = source.wait(wanted, self._begin, 1, seconds)
        deadline = time.monotonic() + SETTLE_SECONDS
        while not found and source.is_busy(self.domain, sender):
            if time.monotonic() > deadline:
                raise KitError(f"a client still sends to {self.domain} after {SETTLE_SECONDS:g} s")
            found = source.wait(wanted, self._begin, 1, 0.01)
        found = found or source.found(wanted, self._begin)
        if found:
            raise UnexpectedMailError(
                f"expected no mail ({wanted}), but there is:\n{listed(found)}"
            )

    async def assert_none_async(
        self, *, within: float | str | None = None, sender: str | None = None
    ) -> None:
        """Do what `assert_none` does, without holding up the event loop."""
        __tracebackhide__ = True
        await in_thread(lambda: self.assert_none(within=within, sender=sender))

    # --- cleaning

    def clear(self) -> None:
        """Delete the mail of this inbox, and no other."""
        self._access.source.delete(self._ids())

    def close(self) -> None:
        """Remove the faults of this inbox, and delete its mail, which may take a little longer."""
        self.faults.clear()
        self._access.source.discard(self._ids())

    def _ids(self) -> list[str]:
        found = self._access.source.found(Wanted(domain=self.domain), self._begin)
        return [one.id for one in found]


def _access(server: Accessible | str) -> Access:
    return Access.of(server, token()) if isinstance(server, str) else server.access


def _count(count: int | None) -> int:
    if count is None:
        return 1
    if count < 1:
        raise KitError(f"count={count!r}: expected 1 or more; to see that none came, assert_none()")
    return count
