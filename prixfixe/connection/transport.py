"""The socket side of a session: events, flow control, time, and the end.

Owns: what a transport calls, when input is read and output written, the idle timer, lingering.
Promises: a timer ends in `abort`, never in waiting for a peer; a peer that half-closes gets every
reply it is due; a last word that was not asked for is given time to arrive; a defect ends the
session with a fixed reply.
Refuses: who may connect and TLS (see `entrance`), AUTH and stores (see `connection`), and SMTP (see
`dialogue`).

This room is where aiosmtpd is: `smtp.SMTP` is the parent, kept for its place between transport
and reader and for the `Session` record (peer, TLS, login).
Replaced, each for what was measured on 1.4.6:
- `__init__`: `inspect.getmembers` and `dir` per connection, `getfqdn` on the loop;
- `_handle_client`, `push`, `smtp_*`: one await and one segment a reply, LF accepted as line end,
  buffered input run after close, limits shared by all connections of the class;
- `_getaddr`, `_getparams`: a message-header parser on SMTP paths (see `address`, `params`);
- `get_proxy`: ports as `int` reads them, invalid families taken, LOCAL refused (see `proxy`);
- `smtp_DATA`: an object for every line, memory beyond the limit, dots counted (see `body`);
- `_timeout_cb`: `close()` waits for a peer that never reads; no 421;
- `eof_received`, `connection_lost`: cancelled the store's work;
- `handle_exception`: exception text on the wire, as a permanent failure;
- `smtp_AUTH`, `smtp_STARTTLS`: password checks on the loop, secrets in debug logs, asyncio's own
  TLS on any loop.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from aiosmtpd import smtp

from prixfixe.limits.timing import Pace, Turn
from prixfixe.smtp import proxy_header, replies
from prixfixe.smtp.session import SLICE
from prixfixe.smtp.state import Mode

if TYPE_CHECKING:
    import asyncio

    from prixfixe.connection.services import Context
    from prixfixe.smtp.replies import Reply
    from prixfixe.smtp.session import Dialogue

__all__ = ["Link"]

# Buffered input at which the kernel's window is used instead; the longest line fits.
PAUSE_OCTETS: Final = 16384
PAUSE_EARLY_OCTETS: Final = (
    proxy_header.MAX_OCTETS
)  # the same ahead of the greeting: a whole header
BULK_OCTETS: Final = 131072  # in one read, after which others have their turn
NARROW_OCTETS: Final = 32768  # of the kernel's for a client that floods
_COMMAND, _BODY = Mode.COMMAND, Mode.BODY  # a look-up less for each read
LINGER_SECONDS: Final = 2.0  # for a peer to read a last reply it did not ask for


class Link(smtp.SMTP):
    """A transport and a dialogue; `left` is called once when the transport is gone."""

    dialogue: Dialogue

    def __init__(self, context: Context) -> None:
        # The parent's constructor is not called: see above.
        self.context = context
        self.loop = context.loop
        self.transport: Any = None
        self.session: smtp.Session | None = None
        self.end = ""  # how the session ended, once that is known
        # Flow.
        self._is_scheduled = False
        self._is_resting = False  # after a read so large that others come first
        self._is_reading_paused = False
        self._is_writing_paused = False
        self._is_ended = False
        self._is_narrow = False  # whether the kernel holds less for this client
        self._is_deaf = False  # reading stays paused, whatever the flow says
        self._early: bytearray | None = None  # takes what is not for the dialogue
        # Time.
        self.pace = Pace(context.limits, context.loop.time())
        self._timer: asyncio.TimerHandle | None = None
        self._is_finishing = False
        self._progress = 0
        self._data_octets = 0
        self._task: asyncio.Task[None] | None = None

    def left(self, error: Exception | None) -> None:
        """Settle accounts: the transport is gone."""
        raise NotImplementedError

    def linger(self) -> None:
        """Note that all is said, and only the peer has yet to read it."""
        raise NotImplementedError

    def early_came(self) -> None:
        """Look at what came before there is a dialogue to take it."""
        raise NotImplementedError

    # --- the transport's events

    def data_received(self, data: bytes) -> None:
        """Take octets and answer what can be answered now.

        Every octet comes in here: in clear, out of TLS, ahead of the greeting. One event of the
        loop may bring dozens of reads, so the flow is governed after each of them.
        """
        if self._early is not None:
            self._early += data
            self.early_came()
        else:
            self.dialogue.receive(data)
            if not self._is_scheduled:
                self.pump()
        if len(data) >= BULK_OCTETS:
            self._is_resting = True
            self._schedule()
        if self._is_scheduled or self._is_writing_paused or self._early is not None:
            self._govern_reading()

    def eof_received(self) -> bool:
        """Answer what is under way before closing; TLS cannot half-close, so says False."""
        self._is_ended = True
        if self._early is not None:
            self.early_came()
        elif not self._is_scheduled:
            self.pump()
        return self.dialogue.tls is None

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection; a message being kept is not disturbed."""
        if self.transport is None:
            return
        self.transport = None
        for handle in (self._timer, self._task):
            if handle is not None:
                handle.cancel()
        self.left(error)

    def pause_writing(self) -> None:
        """Stop answering: the peer does not read."""
        self._is_writing_paused = True
        self._govern_reading()

    def resume_writing(self) -> None:
        """Go on answering."""
        self._is_writing_paused = False
        self._schedule()

    # --- the pump

    def _schedule(self) -> None:
        if not self._is_scheduled and self.transport is not None:
            self._is_scheduled = True
            self.context.turns.add(self)

    def take_turn(self) -> None:
        """Work on a slice of the input: it is this connection's turn."""
        self._is_scheduled = self._is_resting = False
        self.pump()

    def pump(self) -> None:
        """Work on the input, see to its replies being sent in one write, and what is next."""
        dialogue = self.dialogue
        if self._is_writing_paused or self.transport is None:
            return
        try:
            has_more = dialogue.work()
        except Exception as error:  # noqa: BLE001 - the session's one boundary
            self._broken(error)
            has_more = False
        if dialogue.progress != self._progress:
            self._progress = dialogue.progress
            if dialogue.data_octets == self._data_octets:
                self.pace.active_at = self.loop.time()
            else:
                self.pace.progressed(self.loop.time(), dialogue.data_octets - self._data_octets)
                self._data_octets = dialogue.data_octets
        mode = dialogue.mode
        is_usual = (mode is _COMMAND or mode is _BODY) and not dialogue.is_starved
        is_usual = is_usual and len(dialogue.output) < SLICE
        if not is_usual or has_more or self._is_ended or self._is_reading_paused:
            self.flush()
            self._look_ahead(has_more=has_more)
        elif dialogue.output:
            self.context.outbox.add(self)

    def _look_ahead(self, *, has_more: bool) -> None:
        """See what is next when it is not simply the peer's next octets."""
        dialogue = self.dialogue
        if self._is_finishing:
            self._stop_reading()
        elif dialogue.mode is Mode.CLOSED:
            self._finish("quit" if dialogue.has_quit else "error")
        elif has_more:
            self._schedule()
        elif self._is_ended and not self._is_awaiting():
            self._finish("eof")
        if self._is_reading_paused or dialogue.buffered > PAUSE_OCTETS or dialogue.is_starved:
            self._govern_reading()

    def flush(self) -> None:
        """Send the replies that are due, in one write: every octet of a reply leaves here.

        `pump` works on no input while the transport says that the peer does not read, so the
        replies kept here are those of one slice at the most.
        """
        output, transport = self.dialogue.output, self.transport
        if output and transport is not None:
            transport.write(b"".join(output) if len(output) > 1 else output[0])
            output.clear()

    def _is_awaiting(self) -> bool:
        """Whether the next step is not the peer's but ours."""
        return self.dialogue.mode is Mode.WAITING or self.dialogue.is_starved

    def turn(self) -> Turn:
        """Return whose time is running."""
        if self._is_writing_paused:
            return Turn.THEIRS
        if self._is_awaiting():
            return Turn.OURS
        is_owing = self.dialogue.mode is Mode.BODY or self.dialogue.is_in_debt
        return Turn.THEIR_DATA if is_owing else Turn.THEIRS

    def _govern_reading(self) -> None:
        dialogue, early = self.dialogue, self._early
        is_full = (
            dialogue.buffered > PAUSE_OCTETS if early is None else len(early) > PAUSE_EARLY_OCTETS
        )
        is_held = self._is_resting or self._is_writing_paused or dialogue.is_starved
        is_wanted = not (is_held or is_full)
        if self.transport is None or self.transport.is_closing() or self._is_ended:
            return
        if self._is_deaf:
            return
        if is_full and not self._is_narrow and not dialogue.is_starved:
            self._narrow()
        if is_wanted == self._is_reading_paused:
            self._is_reading_paused = not is_wanted
            (self.transport.resume_reading if is_wanted else self.transport.pause_reading)()

    def _stop_reading(self) -> None:
        """Read no more from a client that goes on sending after the end; it may still read."""
        if not (self._is_deaf or self.transport is None or self.transport.is_closing()):
            self._is_deaf = True
            self.transport.pause_reading()

    def _narrow(self) -> None:
        """Have the kernel hold less of what a client sends faster than it can be worked on.

        One read may bring all that the kernel holds, and TLS makes several copies of that.
        """
        self._is_narrow = True
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW_OCTETS)

    def _broken(self, error: Exception) -> None:
        self.context.log.unexpected(error, self.dialogue)
        self.end = "error"
        self.dialogue.close(replies.BROKEN)

    def touch(self) -> None:
        """Note activity: what the peer waited for is done."""
        self.pace.touch(self.loop.time())

    # --- ending

    def _finish(self, end: str) -> None:
        """Close once the output is sent; a peer that does not take it is cut off."""
        transport = self.transport
        if transport is None or transport.is_closing() or self._is_finishing:
            return
        self._is_finishing = True
        self.end = self.end or end
        self.dialogue.end()
        if self._timer is not None:
            self._timer.cancel()
        # Closing with unread input would reset the connection and take the last reply with it.
        is_heard = self.end in ("quit", "eof", "shutdown") or self._is_ended
        if is_heard and self.dialogue.tls is None and not transport.get_write_buffer_size():
            transport.close()  # All is sent: there is nothing to wait for.
            return
        self._timer = self.loop.call_later(LINGER_SECONDS, transport.abort)
        self.linger()
        if self.dialogue.has_unread:
            self._stop_reading()
        if is_heard or not transport.can_write_eof():
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:  # The peer went first.
            transport.abort()

    def check_time(self) -> None:
        """End a session whose time is over, else look again when it may be."""
        now, turn = self.loop.time(), self.turn()
        reply = self.pace.overdue(now, turn, self.dialogue.data_since)
        if reply is not None:
            self._time_is_over(reply)
        if not self._is_finishing and self.transport is not None:
            wait = self.pace.seconds_to_look(now, turn)
            self._timer = self.loop.call_later(wait, self.check_time)

    def _time_is_over(self, reply: Reply) -> None:
        """Say so to a peer that listens; a message under way outlives the session's own time."""
        self.end = "timeout"
        if self.has_no_voice():
            self.dialogue.meet(reply.limit)
            self.cut()
            return
        if reply is replies.SESSION_TOO_LONG:
            self.dialogue.interrupt(reply)
        else:
            self.dialogue.close(reply)
        if self.dialogue.mode is Mode.CLOSED:
            self.flush()
            self._finish("timeout")

    def has_no_voice(self) -> bool:
        """Whether a last word would reach nobody: the peer does not read."""
        return self._is_writing_paused

    def drain(self) -> None:
        """Say 421 and close, or do so when the message under way is answered."""
        self.dialogue.interrupt(replies.SHUTTING_DOWN)
        if self.dialogue.mode is Mode.CLOSED:
            self.flush()
            self._finish("shutdown")
        else:
            self.end = "shutdown"

    def abort(self) -> None:
        """Cut the connection now: the drain deadline has passed."""
        self.end = "shutdown"
        self.flush()
        self.cut()

    def cut(self) -> None:
        """End the connection without a word."""
        if self.transport is not None:
            self.transport.abort()
