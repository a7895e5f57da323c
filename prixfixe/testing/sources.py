"""Where a test reads mail: a store in this process, or a server's HTTP API.

Both find the same messages for the same conditions, because `Wanted` alone decides.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from prixfixe.mail.folding import fold
from prixfixe.mail.message import Envelope, Message, Recipient
from prixfixe.telemetry.sessions import OpenSession
from prixfixe.testing.api_client import ApiClient, ApiError
from prixfixe.testing.wanted import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.stores.memory import MemoryStore

__all__ = ["HttpSource", "Source", "StoreSource", "is_about_to_send"]

_MOST = 1_000_000
_PAGE = 1000  # the most that the API lists at once
_DISCARDED = 50  # messages that may wait to be deleted; a request for each test would cost more
_WAIT_SECONDS = 240.0  # of one request; the API allows 300


class Source(Protocol):
    """Finds messages; `begin` is what an inbox remembers of the moment when it began."""

    def now(self) -> Any:  # noqa: ANN401 - each source's own
        """Return the moment, for `begin`."""
        ...

    def found(self, wanted: Wanted, begin: Any) -> list[Message]:  # noqa: ANN401 - see above
        """Return what there is, oldest first."""
        ...

    def wait(self, wanted: Wanted, begin: Any, count: int, seconds: float) -> list[Message]:  # noqa: ANN401
        """Return what there is once it is `count` messages, or when the time is up."""
        ...

    def elsewhere(self, domain: str, begin: Any) -> list[str]:  # noqa: ANN401 - see above
        """Return to whom mail went that is not for a domain, for the explanation of a failure."""
        ...

    def is_busy(self, domain: str, sender: str | None) -> bool:
        """Whether a client is about to send to a domain, or a session of the sender is open."""
        ...

    def delete(self, ids: list[str]) -> None:
        """Delete messages."""
        ...

    def discard(self, ids: list[str]) -> None:
        """Delete messages that nobody looks at any more, now or a little later."""
        ...


class StoreSource:
    """Reads a store in memory of this process; `begin` is the key of its newest message."""

    def __init__(
        self,
        store: MemoryStore,
        delete: Callable[[list[str]], None],
        sessions: Callable[[], list[OpenSession]],
    ) -> None:
        self._store = store
        self._delete = delete
        self._sessions = sessions
        self._discarded: list[str] = []
        self._waiting: set[threading.Event] = set()

    def now(self) -> int:
        """Return the key of the newest message."""
        return self._store.state().last.key

    def arrived(self) -> None:
        """Wake those who wait; the server's thread calls this for each message."""
        for event in list(self._waiting):
            event.set()

    def found(self, wanted: Wanted, begin: int) -> list[Message]:
        """Return what there is, oldest first."""
        return self._new(wanted, begin)[0]

    def _new(self, wanted: Wanted, begin: int) -> tuple[list[Message], int]:
        """Return what is above a key, and the highest key that was looked at."""
        places = self._store.places(begin, _MOST)
        there = (self._store.find(place.id) for place in places)
        found = [one for one in there if one and wanted.is_for_it(one) and wanted.takes(one)]
        return found, places[-1].key if places else begin

    def wait(self, wanted: Wanted, begin: int, count: int, seconds: float) -> list[Message]:
        """Return what there is once it is `count` messages, or when the time is up."""
        deadline = time.monotonic() + seconds
        event = threading.Event()
        self._waiting.add(event)
        try:
            found, looked = self._new(wanted, begin)
            while len(found) < count and event.wait(max(0.0, deadline - time.monotonic())):
                event.clear()
                more, looked = self._new(wanted, looked)
                found += more
        finally:
            self._waiting.discard(event)
        return found

    def elsewhere(self, domain: str, begin: int) -> list[str]:
        """Return to whom mail went that is not for a domain."""
        return _not_at(domain, self.found(Wanted(), begin))

    def is_busy(self, domain: str, sender: str | None) -> bool:
        """Whether a client is about to send to a domain, or a session of the sender is open."""
        return is_about_to_send(self._sessions(), domain, sender)

    def delete(self, ids: list[str]) -> None:
        """Delete messages."""
        if ids:
            self._delete(ids)

    def discard(self, ids: list[str]) -> None:
        """Delete messages that nobody looks at any more, many at once."""
        self._discarded += ids
        if len(self._discarded) >= _DISCARDED:
            gone, self._discarded = self._discarded, []
            self._delete(gone)


class HttpSource:
    """Reads a server by its API; `begin` is the id of its newest message."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    def now(self) -> str | None:
        """Return the id of the newest message; of one without messages, None."""
        page = self._api.json("GET", "/api/v1/messages", query={"limit": 1})
        return page["messages"][0]["ID"] if page["messages"] else None

    def found(self, wanted: Wanted, begin: str | None) -> list[Message]:
        """Return what there is, oldest first."""
        return self.wait(wanted, begin, 1, 0)

    def wait(self, wanted: Wanted, begin: str | None, count: int, seconds: float) -> list[Message]:
        """Return what there is once it is `count` messages, or when the time is up."""
        deadline = time.monotonic() + seconds
        looked: dict[str, Message | None] = {}
        is_over = False
        while True:
            left = max(0.0, deadline - time.monotonic())
            for one in self._waited(wanted, begin, len(looked) + 1, left):
                if one not in looked:
                    looked[one] = self._fetched(one)
            found = [one for one in looked.values() if one is not None and wanted.takes(one)]
            if len(found) >= count or is_over:
                return sorted(found, key=lambda one: (one.received_at, one.id))
            is_over = left == 0.0

    def _waited(self, wanted: Wanted, begin: str | None, count: int, seconds: float) -> list[str]:
        """Return the ids of `count` messages or more, oldest first; none when the time is up."""
        to = f"@{wanted.domain}" if wanted.domain is not None else wanted.to
        query = " ".join(filter(None, (to and f'to:"{to}"', wanted.query)))
        seconds = min(seconds, _WAIT_SECONDS)
        asked = {
            "query": query or "larger:1",
            "since": begin,
            "count": min(count, _PAGE),
            "timeout": f"{seconds:.3f}",
        }
        try:
            page = self._api.json("GET", "/api/v1/wait", query=asked, seconds=seconds)
        except ApiError as error:
            if error.status == 408:
                return []
            raise
        return [one["ID"] for one in reversed(page["messages"])]

    def elsewhere(self, domain: str, begin: str | None) -> list[str]:
        """Return to whom mail went that is not for a domain; a shared server does not tell."""
        del domain, begin
        return []

    def is_busy(self, domain: str, sender: str | None) -> bool:
        """Whether a client is about to send to a domain, or a session of the sender is open."""
        try:
            page = self._api.json("GET", "/api/v1/sessions")
        except ApiError as error:
            if error.status == 404:  # Mailpit, or another server with its API
                return False
            raise
        sessions = [
            OpenSession(one["Session"], one["Peer"], one["Helo"], one["From"], tuple(one["To"]))
            for one in page["sessions"]
        ]
        return is_about_to_send(sessions, domain, sender)

    def _fetched(self, message_id: str) -> Message | None:
        """Return a message, or None if it was deleted meanwhile."""
        path = f"/api/v1/message/{quote(message_id)}"
        try:
            said = self._api.json("GET", f"{path}/envelope")
            raw = self._api.octets("GET", f"{path}/raw")
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        body = raw[said["RawSize"] - said["Size"] :]
        return Message(message_id, _seconds(said["Received"]), _envelope(said), body)

    def delete(self, ids: list[str]) -> None:
        """Delete messages; an empty list would mean all of them."""
        if ids:
            self._api.json("DELETE", "/api/v1/messages", body={"IDs": ids})

    def discard(self, ids: list[str]) -> None:
        """Delete messages."""
        self.delete(ids)


def is_about_to_send(sessions: list[OpenSession], domain: str, sender: str | None) -> bool:
    """Whether a session has a recipient of the domain, or is one of the sender."""
    if any(fold(to).rpartition("@")[2] == domain for one in sessions for to in one.recipients):
        return True
    return sender is not None and any(fold(one.sender) == fold(sender) for one in sessions)


def _not_at(domain: str, messages: list[Message]) -> list[str]:
    addresses = (one.address for message in messages for one in message.envelope.recipients)
    return list(dict.fromkeys(one for one in addresses if fold(one).rpartition("@")[2] != domain))


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def _envelope(said: dict[str, Any]) -> Envelope:
    return Envelope(
        sender=said["From"],
        sender_params=tuple(said["FromParams"].items()),
        recipients=tuple(
            Recipient(one["Address"], tuple(one["Params"].items())) for one in said["To"]
        ),
        peer=said["Peer"],
        helo=said["Helo"],
        protocol=said["Protocol"],
        tls=said["TLS"],
        user=said["User"],
    )
