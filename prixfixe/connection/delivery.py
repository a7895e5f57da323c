"""Delivery of one message to the store, from the end of its data to its reply.

Every failure becomes a fixed, temporary reply, and so does a store that does not answer in time. A
put that has begun always ends, even if the client hangs up.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from prixfixe.mail.message import Message
from prixfixe.smtp import replies
from prixfixe.stores.base import StoreError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from prixfixe.connection.refusals import Refusals
    from prixfixe.connection.services import Services
    from prixfixe.mail.message import Envelope, Recipient
    from prixfixe.smtp.replies import Reply
    from prixfixe.smtp.state import State

__all__ = ["Delivery", "Waiting"]


class Waiting(Protocol):
    """The connection that waits for the store's answer."""

    def kept(self, message_id: str) -> None:
        """Tell the client that its message is stored."""
        ...

    def failed(self, reply: Reply) -> None:
        """Tell the client that its message is not stored."""
        ...

    def answered(self) -> None:
        """Continue after an answer that did not come at once."""
        ...


class Delivery:
    """The messages of one session, one at a time."""

    __slots__ = (
        "_data_since",
        "_has_given_up",
        "_listener",
        "_message",
        "_refusals",
        "_services",
        "_state",
        "_waiting",
        "ended_at",
    )

    def __init__(self, services: Services, state: State, listener: str, refusals: Refusals) -> None:
        self._services = services
        self._state = state
        self._listener = listener
        self._refusals = refusals
        self._waiting: Waiting | None = None  # while an answer is due
        self._message: Message | None = None
        self._has_given_up = False
        self._data_since = 0.0
        self.ended_at = -math.inf  # the end of the last message's data

    def keep(self, envelope: Envelope, body: bytes, since: float, waiting: Waiting) -> None:
        """Store the message and report the result to `waiting`.

        `since` is the loop time at which its data began, or 0 for now.
        """
        services = self._services
        made, now = services.ids()
        message = Message(made, now, envelope, body)
        self.ended_at = services.loop.time()
        self._data_since = since or self.ended_at
        future = services.store.put(message)
        if future.done():
            self._put_ended(message, future.exception(), waiting)
        else:
            self._message = message
            self._waiting = waiting
            services.roster.waits_for_store(self, self.ended_at)
            future.add_done_callback(lambda done: self._put_ended_later(message, done))

    @property
    def is_waiting(self) -> bool:
        """Whether the store has not answered yet; the client may already have a reply."""
        return self._message is not None

    @property
    def recipients(self) -> Sequence[Recipient]:
        """The recipients of the message that the store has not answered for, if there is one."""
        return () if self._message is None else self._message.envelope.recipients

    def check_time(self) -> None:
        """Send 451 if the store has not answered in time.

        The message may still be stored without a 250. The client will send it again.
        """
        message, services, waiting = self._message, self._services, self._waiting
        late = services.loop.time() - self.ended_at - services.limits.store_seconds
        if message is None or waiting is None or self._has_given_up or late < 0:
            return
        self._has_given_up = True
        services.metrics.message(self._listener, "deferred", "store_timeout")
        services.log.message_deferred(message, self._state, replies.STORE_SLOW.limit)
        self._refusals.not_kept(message.envelope, replies.STORE_SLOW, "store_timeout")
        waiting.failed(replies.STORE_SLOW)
        waiting.answered()

    def _put_ended_later(self, message: Message, future: asyncio.Future[None]) -> None:
        waiting, self._waiting = self._waiting, None
        self._message = None
        self._services.roster.store_answered(self)
        error = future.exception()
        if waiting is None:
            return
        if self._has_given_up:
            self._put_ended_too_late(message, error)
        else:
            self._put_ended(message, error, waiting)
        waiting.answered()

    def _put_ended_too_late(self, message: Message, error: BaseException | None) -> None:
        self._has_given_up = False
        self._services.log.stored_late(message, self._state, error)
        if error is None:
            self._services.arrivals.publish(message)

    def _put_ended(self, message: Message, error: BaseException | None, waiting: Waiting) -> None:
        if error is not None:
            waiting.failed(self._not_kept(message, error))
            return
        services, metrics = self._services, self._services.metrics
        services.arrivals.publish(message)
        taken = services.loop.time() - self.ended_at
        metrics.accepted(self._listener, message, self.ended_at - self._data_since, taken)
        services.log.message_kept(message, self._state, taken)
        waiting.kept(message.id)

    def _not_kept(self, message: Message, error: BaseException) -> Reply:
        reply, reason = _reply_for(error)
        self._services.metrics.message(self._listener, "deferred", reason)
        self._services.metrics.store_error(getattr(error, "kind", "internal"))
        told = f"{type(error).__name__}: {error}"
        self._services.log.message_deferred(message, self._state, told)
        self._refusals.not_kept(message.envelope, reply, reason)
        self._services.invalidate()
        return reply


def _reply_for(error: BaseException) -> tuple[Reply, str]:
    """Return a fixed, temporary reply for any failure, and its reason for the metrics."""
    if isinstance(error, StoreError):
        if error.is_full:
            return replies.STORE_FULL, "store_full"
        return replies.STORE_FAILED, "store_error"
    return replies.INTERNAL, "internal"
