"""Waits that answer with a link or a code of a mail, or with the proof that no mail came."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, NamedTuple

from starlette.exceptions import HTTPException

from prixfixe.http.api.routes import MAX_LIMIT, MAX_WAIT_SECONDS
from prixfixe.http.responses import number, only, whole
from prixfixe.http.safe import json_octets
from prixfixe.mail.extract import MAX_CODE_LENGTH, MIN_CODE_LENGTH, find_codes, find_links
from prixfixe.mail.folding import fold
from prixfixe.mail.mime import parse_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from prixfixe.http.api.made import MadeAnswers
    from prixfixe.http.api.mailbox import Mailbox
    from prixfixe.http.api.routes import Api
    from prixfixe.http.api.wait_condition import WaitCondition
    from prixfixe.http.context import HttpContext
    from prixfixe.mail.message import Message
    from prixfixe.stores.arrivals import Subscription
    from prixfixe.telemetry.sessions import OpenSession

__all__ = ["WaitPaths"]

MAX_LOOKED_AT = 50  # messages that match, the newest ones, in which a link or a code is looked for
LOOK_SECONDS = 0.01  # between looks at the sessions, while a mail may be on its way
MAX_TOLD = 10  # open sessions
MAX_CHARACTERS = 1024 * 1024  # of candidates that will not do
DEAR_TIMES = 10  # a look at the sessions is followed by a pause of so many times its duration
_CONDITION = ("query", "to", "from", "subject", "since", "timeout", "tz")


class _Wanted(NamedTuple):
    """What is looked for: how candidates are found in a message, and which of them will do."""

    name: str
    find: Callable[[Message], list[str]]
    takes: Callable[[str], bool]


class _Candidates:
    """What was found and will not do, as much of it as an answer tells."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._left = MAX_CHARACTERS

    def add(self, found: list[str]) -> None:
        """Keep what there is room for."""
        for one in found:
            self._left -= len(one)
            if self._left < 0 or len(self.told) == MAX_LIMIT:
                return
            self.told.append(one)


class _Seen(NamedTuple):
    """An open session, and whom it names in the form in which addresses are compared."""

    session: OpenSession
    sender: str
    recipients: frozenset[str]


class _Looks:
    """Looks at the open sessions, each for all who wait.

    Clients may name very many recipients, so a look may take long.
    """

    def __init__(self, sessions: Callable[[], list[OpenSession]]) -> None:
        self._sessions = sessions
        self._next: asyncio.Task[list[_Seen]] | None = None
        self._not_before = 0.0

    async def next(self) -> list[_Seen]:
        """Return the sessions that are open at a moment after this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._look())
        return await asyncio.shield(self._next)

    async def _look(self) -> list[_Seen]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._not_before - loop.time()))
        self._next = None
        began = loop.time()
        seen = [
            _Seen(one, fold(one.sender), frozenset(map(fold, one.recipients)))
            for one in self._sessions()
        ]
        ended = loop.time()
        self._not_before = ended + DEAR_TIMES * (ended - began)
        return seen


class WaitPaths:
    """The paths under `/api/v1/wait`."""

    def __init__(self, context: HttpContext, mailbox: Mailbox, api: Api, made: MadeAnswers) -> None:
        self._looks = _Looks(context.sessions)
        self._mailbox = mailbox
        self._api = api
        self._made = made

    # --- links and codes

    async def link(self, request: Request) -> Response:
        """Answer with a link of the newest message that matches and has one."""
        only(request, *_CONDITION, "contains")
        part = request.query_params.get("contains", "")
        name = f"link that contains {part!a}" if part else "link"
        return await self._extracted(request, _Wanted(name, _links, lambda one: part in one))

    async def code(self, request: Request) -> Response:
        """Answer with the most likely code of the newest message that matches and has one."""
        only(request, *_CONDITION, "length")
        length = whole(request, "length", 6, MAX_CODE_LENGTH)
        if length < MIN_CODE_LENGTH:
            bounds = f"from {MIN_CODE_LENGTH} to {MAX_CODE_LENGTH}"
            raise HTTPException(400, f"length: expected a whole number {bounds}")
        wanted = _Wanted(
            f"code of {length} characters", lambda one: _codes(one, length), lambda _: True
        )
        return await self._extracted(request, wanted)

    async def _extracted(self, request: Request, wanted: _Wanted) -> Response:
        condition = await self._api.condition(request)
        timeout = number(request, "timeout", 10, MAX_WAIT_SECONDS)
        until = asyncio.get_running_loop().time() + timeout
        seen: set[str] = set()
        others = _Candidates()
        with self._api.waiting(request) as waiter:
            while True:
                left = max(0.0, until - asyncio.get_running_loop().time())
                count = min(len(seen) + 1, MAX_LIMIT)
                found = await self._api.gather(request, condition, count, left, waiter)
                fresh = [one for one in found if one not in seen]
                for name in reversed(fresh[-MAX_LOOKED_AT:]):
                    candidates = await self._mailbox.view(name, wanted.find) or []
                    value = next(filter(wanted.takes, candidates), None)
                    if value is not None:
                        return await self._answer(request, name, value, candidates)
                    others.add(candidates)
                seen |= {*fresh}
                if not fresh:
                    text = f"no {wanted.name} came in {timeout:g} s; {len(seen)} messages match"
                    said = {"Error": text, "Candidates": others.told}
                    return await self._api.time_is_up(request, condition, said)

    async def _answer(
        self, request: Request, name: str, value: str, candidates: list[str]
    ) -> Response:
        entries = (await self._mailbox.entries([name])).entries
        message = json.loads(entries[0].record) if entries else None
        said = {"Value": value, "Candidates": candidates, "Message": message}
        return await self._made.json(request, lambda: json_octets(said))

    # --- nothing

    async def none(self, request: Request) -> Response:
        """Answer as soon as no mail that matches is stored or on its way; 409 if there is one."""
        only(request, *_CONDITION, "sender", "within")
        condition = await self._api.condition(request)
        within = number(request, "within", 0, MAX_WAIT_SECONDS)
        timeout = number(request, "timeout", 10, MAX_WAIT_SECONDS)
        with self._api.waiting(request) as waiter:
            found = await self._api.gather(request, condition, 1, within, waiter)
            busy = [] if found else await self._settled(request, condition, timeout, waiter)
            found = found or await self._api.gather(request, condition, 1, 0, waiter)
        if found:
            return await self._api.listed_ids(request, list(reversed(found)), 409)
        if busy:
            text = f"a session that may bring such mail is open after {timeout:g} s"
            said = {"Error": text, "Sessions": [one.session for one in busy[:MAX_TOLD]]}
            return await self._api.time_is_up(request, condition, said)
        return await self._api.time_is_up(request, condition, {}, 200)

    async def _settled(
        self, request: Request, condition: WaitCondition, seconds: float, waiter: Subscription
    ) -> list[OpenSession]:
        """Wait until no session may bring such mail; return those that still may."""
        until = asyncio.get_running_loop().time() + seconds
        sender = request.query_params.get("sender")
        while busy := await self._busy(condition, sender):
            if asyncio.get_running_loop().time() >= until:
                break
            if await self._api.gather(request, condition, 1, LOOK_SECONDS, waiter):
                break
        return busy

    async def _busy(self, condition: WaitCondition, sender: str | None) -> list[OpenSession]:
        to = {fold(value) for name, value in condition.exact if name == "to"}
        sender = fold(sender) if sender is not None else None
        return [
            one.session
            for one in await self._looks.next()
            if (one.sender and one.sender == sender)
            or (one.recipients if not to else not to.isdisjoint(one.recipients))
        ]


def _texts(message: Message) -> tuple[str, str, str]:
    """Return subject, text and HTML of a message."""
    parsed = parse_message(message.body)
    shown = parsed.html()
    text = "\n".join(part.text() for part in parsed.plain_texts())
    return parsed.header.text("Subject"), text, "" if shown is None else shown.text()


def _links(message: Message) -> list[str]:
    _, text, html = _texts(message)
    return find_links(text, html)


def _codes(message: Message, length: int) -> list[str]:
    subject, text, html = _texts(message)
    return find_codes(text, html, subject, length)
