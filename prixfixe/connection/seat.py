"""The place a connection takes: its peer, what it is counted as, and giving it back.

Owns: who the client is, the account of a session when it ends, and giving way to a newcomer.
Promises: what was counted is given back once, however the session ends, and the moment it gives
way, whenever its peer takes notice.
Refuses: deciding who may come in (see `entrance`) or who gives way (see `pace`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prixfixe.connection.transport import Link
from prixfixe.limits.timing import Turn
from prixfixe.smtp import replies
from prixfixe.smtp.session import Dialogue

if TYPE_CHECKING:
    from prixfixe.connection.services import Context
    from prixfixe.smtp.offer import Terms
    from prixfixe.smtp.state import Outside

__all__ = ["Placed"]

MAX_LINGERING: Final = 64


class Placed(Link):
    """A connection that may take one of the server's places."""

    def __init__(self, context: Context, terms: Terms, listener: str) -> None:
        super().__init__(context)
        self.listener = listener
        self.dialogue = Dialogue(terms, self._outside(), context.loop.time, context.metrics.command)
        self.dialogue.session_id = next(context.session_ids)
        self._peer = ("", 0)
        self._counted: tuple[str, int] | None = None  # as the admission knows it, once it does
        self._is_welcome = False
        self._is_recorded = True  # whether no record of the session's end is due

    def _outside(self) -> Outside:
        """Return who answers the dialogue."""
        raise NotImplementedError

    @property
    def peer(self) -> str:
        """The client as `host:port`; behind PROXY, the real one."""
        return self.dialogue.peer

    def _set_peer(self, name: Any) -> None:  # noqa: ANN401 - whatever the transport calls a peer
        host, port = (str(name[0]), int(name[1])) if name else ("", 0)
        host = host.removeprefix("::ffff:")  # An IPv4 client of a dual-stack listener.
        self._peer = (host, port)
        self.dialogue.peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if self.session is not None:
            self.session.peer = self.dialogue.peer

    def left(self, error: Exception | None) -> None:
        """Forget the connection; a message being kept is not disturbed."""
        context = self.context
        context.sessions.discard(self)
        context.lingering.pop(self, None)
        if context.is_draining and not context.sessions:
            context.no_sessions.set()
        self.end = self.end or ("error" if error else "eof")
        self.dialogue.end()
        self._leave()
        self.dialogue.let_go()

    def _make_room(self) -> bool:
        """Close the session that least deserves its place, if there is one that does not."""
        context = self.context
        places = (one for one in context.sessions if one.is_client())
        place = context.shedding.pick(places, self.loop.time())
        if place is not None:
            place.give_way()
        return place is not None

    def is_client(self) -> bool:
        """Whether the connection takes a place: it is neither refused nor a health probe."""
        counted = self._counted
        return counted is not None and not self.context.admission.is_probe(*counted)

    def owed_seconds(self, now: float) -> float:
        """Return for how long the client has sent nothing worth its place."""
        is_theirs = self.turn() is not Turn.OURS and self.is_client()
        return self.pace.owed_seconds(now) if is_theirs else 0.0

    def give_way(self) -> None:
        """Free the place now, whenever the peer takes notice."""
        self.end = "shed"
        if self.has_no_voice():
            self.dialogue.meet(replies.MAKE_ROOM.limit)
            self.cut()
        else:
            self.dialogue.close(replies.MAKE_ROOM)
            self.flush()
            self._finish("shed")
        self._leave()

    def linger(self) -> None:
        """Give the place back while the peer reads the last reply; a few may take their time.

        Clients that are refused again and again would keep all others out otherwise.
        """
        lingering = self.context.lingering
        self._leave()
        lingering[self] = None
        if len(lingering) > MAX_LINGERING:
            next(iter(lingering)).cut()

    def _leave(self) -> None:
        """Give back what was counted, once."""
        context, counted = self.context, self._counted
        if counted is None:
            return
        self._counted = None
        is_probe = context.admission.is_probe(*counted)
        context.admission.leave(*counted)
        context.metrics.connection_closed(self.listener)
        self._is_recorded = is_probe or not self._is_welcome
        self.record_end()

    def is_answer_due(self) -> bool:
        """Whether the store still has to say what becomes of a message."""
        raise NotImplementedError

    def record_end(self) -> None:
        """Record the end of the session, once, after what became of its last message."""
        context = self.context
        if self._is_recorded or self.is_answer_due():
            return
        self._is_recorded = True
        seconds = self.loop.time() - self.pace.opened_at
        context.metrics.session_ended(self.end, seconds)
        context.log.session_ended(self.dialogue, self.end, seconds)
