"""What becomes of a message between the end of its data and its reply.

Owns: giving a message its id, the store's answer, and what is told of it: waiters of the API
first, then metrics and log, then the client.
Promises: a put that began ends, whoever hangs up; any failure is a fixed, temporary reply, and so
is a store that does not answer in time, though what it holds counts until it does.
Refuses: SMTP and sockets; the connection's `pump` sends what is due.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from prixfixe import replies
from prixfixe.message import Message
from prixfixe.stores.base import StoreError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from prixfixe.message import Envelope
    from prixfixe.replies import Reply
    from prixfixe.session.context import Context
    from prixfixe.session.dialogue import Dialogue
    from prixfixe.session.transaction import Transaction

__all__ = ["Delivery"]

# Why messages are refused; what is not here is syntax or the order of commands.
_REASONS: Final = {
    replies.TOO_BIG: "size",
    replies.BARE_LF: "bare_lf",
    replies.BARE_LINE_END: "content",
    replies.MESSAGE_LINE_TOO_LONG: "content",
    replies.TOO_MANY_HOPS: "content",
    replies.NO_SUCH_RECIPIENT: "recipient",
    replies.NEEDS_TLS: "tls",
    replies.NEEDS_AUTH: "auth",
}


class Delivery:
    """The messages of one session, one at a time."""

    __slots__ = (
        "_context",
        "_dialogue",
        "_has_given_up",
        "_listener",
        "_message",
        "_pump",
        "ended_at",
    )

    def __init__(self, context: Context, dialogue: Dialogue, listener: str) -> None:
        self._context = context
        self._dialogue = dialogue
        self._listener = listener
        self._pump: Callable[[], None] | None = None  # while an answer is due
        self._message: Message | None = None
        self._has_given_up = False
        self.ended_at = -math.inf  # the end of the last message's data

    def keep(self, envelope: Envelope, body: bytes, pump: Callable[[], None]) -> None:
        """Give the message to the store; `pump` is called after a late answer."""
        context = self._context
        made, now = context.ids()
        message = Message(made, now, envelope, body)
        self.ended_at = context.loop.time()
        future = context.store.put(message)
        if future.done():
            self._put_ended(message, future.exception())
        else:
            self._message = message
            self._pump = pump
            context.pending[self] = self.ended_at
            future.add_done_callback(lambda done: self._put_ended_later(message, done, pump))

    @property
    def is_waiting(self) -> bool:
        """Whether the store has not answered yet, though the client may have been."""
        return self._message is not None

    def check_time(self) -> None:
        """Answer a client whose message the store does not: it waits no longer than it must.

        The message may yet be kept, unacknowledged; the client will send it again.
        """
        message, context = self._message, self._context
        late = context.loop.time() - self.ended_at - context.limits.store_seconds
        if message is None or self._has_given_up or late < 0:
            return
        self._has_given_up = True
        context.metrics.message(self._listener, "deferred", "store_timeout")
        context.log.message_deferred(message, self._dialogue, replies.STORE_SLOW.limit)
        self._dialogue.failed(replies.STORE_SLOW)
        if self._pump is not None:
            self._pump()

    def _put_ended_later(
        self, message: Message, future: asyncio.Future[None], pump: Callable[[], None]
    ) -> None:
        self._message = self._pump = None
        del self._context.pending[self]
        if self._has_given_up:
            self._put_ended_too_late(message, future.exception())
        else:
            self._put_ended(message, future.exception())
        pump()

    def _put_ended_too_late(self, message: Message, error: BaseException | None) -> None:
        self._has_given_up = False
        self._context.log.settled_late(message, self._dialogue, error)
        if error is None:
            self._context.arrivals.publish(message)

    def _put_ended(self, message: Message, error: BaseException | None) -> None:
        if error is not None:
            self._not_kept(message, error)
            return
        context, dialogue, metrics = self._context, self._dialogue, self._context.metrics
        context.arrivals.publish(message)
        taken = context.loop.time() - self.ended_at
        metrics.accepted(
            self._listener,
            len(message.body),
            len(message.envelope.recipients),
            self.ended_at - dialogue.data_since,
            taken,
        )
        metrics.last_accepted = message.received_at
        context.log.message_kept(message, dialogue, taken)
        dialogue.kept(message.id)

    def _not_kept(self, message: Message, error: BaseException) -> None:
        reply, reason = _reply_for(error)
        self._context.metrics.message(self._listener, "deferred", reason)
        self._context.metrics.store_error(getattr(error, "kind", "internal"))
        told = f"{type(error).__name__}: {error}"
        self._context.log.message_deferred(message, self._dialogue, told)
        self._context.doubt()
        self._dialogue.failed(reply)

    def refused(self, reply: Reply, transaction: Transaction | None) -> None:
        """Count a message that was refused for good; there is no transaction of a refused MAIL."""
        reason = _REASONS.get(reply) or ("sequence" if reply.code == 503 else "syntax")
        self._context.metrics.message(self._listener, "rejected", reason)
        self._context.log.message_refused(self._dialogue, transaction, reply, reason)

    def put_off(self, reply: Reply) -> None:
        """Count a message that is not taken now."""
        reason = "policy" if reply is replies.TOO_MANY_MESSAGES else "store_timeout"
        self._context.metrics.message(self._listener, "deferred", reason)

    def aborted(self, end: str) -> None:
        """Count a message whose data never ended, by how the session did."""
        reason = end if end in ("timeout", "shutdown", "shed") else "client_gone"
        self._context.metrics.message(self._listener, "aborted", reason)


def _reply_for(error: BaseException) -> tuple[Reply, str]:
    """Turn any failure into a fixed, temporary reply and its reason for the metrics."""
    if isinstance(error, StoreError):
        if error.is_full:
            return replies.STORE_FULL, "store_full"
        return replies.STORE_FAILED, "store_error"
    return replies.INTERNAL, "internal"
