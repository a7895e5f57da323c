"""What clients send: whole messages, many clients at once, and a ledger of the 250s they got.

The ledger has exactly the messages that were acknowledged, and those that were sent and never
answered. `mailbox` reads the messages back.
"""

from __future__ import annotations

import random
import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from prixfixe.verify.dialogue.wire import ClosedError, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.container.mailbox import Kept

__all__ = ["SENDER", "Crowd", "Ledger", "body_of", "deliver", "envelope", "stuffed"]

SENDER, RECIPIENT = "sender@example.com", "rcpt@example.org"
CROWD_SECONDS = 80.0  # for one answer: the others may have to be served before
_ALPHABET = bytes(range(33, 127))


def body_of(octets: int, token: str = "") -> bytes:
    """Return a message of exactly this size; its token makes it one of its kind."""
    token = token or uuid.uuid4().hex
    head = f"Subject: {token}\r\n\r\n".encode()
    letters = bytes(random.Random(token).choices(_ALPHABET, k=74))
    line = b"." + letters + b"\r\n"  # a dot in front, so that stuffing matters
    rest = octets - len(head)
    assert rest >= 2, "too small to be a message"
    text = line * (rest // len(line))
    left = rest - len(text)
    if left == 1:  # a lone octet could not end a line
        text, left = text[: -len(line)], left + len(line)
    return head + text + b"x" * (left - 2) + b"\r\n" * bool(left)


def stuffed(body: bytes) -> bytes:
    """Return a body as DATA carries it, with its end."""
    text = body.replace(b"\r\n.", b"\r\n..")
    return (b"." if text.startswith(b".") else b"") + text + b".\r\n"


def envelope(wire: Wire, sender: str = SENDER, recipients: Sequence[str] = (RECIPIENT,)) -> None:
    """Open a transaction up to the answer to DATA."""
    lines = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{one}>" for one in recipients), "DATA"]
    for line in lines:
        code = wire.ask(f"{line}\r\n".encode())
        assert code == [354 if line == "DATA" else 250], (line, code)


def deliver(
    wire: Wire, body: bytes, sender: str = SENDER, recipients: Sequence[str] = (RECIPIENT,)
) -> str:
    """Send one message and return the id of its 250."""
    envelope(wire, sender, recipients)
    wire.send(stuffed(body))
    reply = wire.reply()
    assert reply.startswith(b"250 2.0.0 OK queued as "), reply
    return reply.split()[-1].decode()


@dataclass
class Ledger:
    """What clients were told: id and body of every 250, and bodies that got no answer."""

    acknowledged: dict[str, bytes] = field(default_factory=dict)
    unanswered: list[bytes] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)  # replies other than 250

    def settle(self, kept: Sequence[Kept]) -> None:
        """Compare with what is kept: every 250 once and whole, and nothing that was never sent."""
        found = {one.id: one.body for one in kept}
        assert len(found) == len(kept), "an id is there twice"
        lost = self.acknowledged.keys() - found.keys()
        assert not lost, f"{len(lost)} of {len(self.acknowledged)} acknowledged messages are lost"
        changed = [one for one, body in self.acknowledged.items() if found[one] != body]
        assert not changed, f"changed: {changed}"
        others = [body for one, body in found.items() if one not in self.acknowledged]
        assert all(body in self.unanswered for body in others), "something nobody sent, or a part"
        bodies = list(found.values())
        assert len(set(bodies)) == len(bodies), "a message is there twice"


class Crowd:
    """Clients in threads of their own, each sending message after message until told to stop.

    `enough` is called with the number of 250s so far, by whichever client got the last.
    """

    def __init__(
        self,
        connect: Callable[[], Wire],
        clients: int,
        *,
        each: int = 10_000,
        octets: int = 2000,
        enough: Callable[[int], object] = lambda _count: None,
    ) -> None:
        self.ledger = Ledger()
        self._connect, self._each, self._octets, self._enough = connect, each, octets, enough
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self.errors: list[str] = []
        self._threads = [threading.Thread(target=self._client) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join()

    def join(self) -> Ledger:
        """Wait until all have sent all, or lost their server."""
        for thread in self._threads:
            thread.join(2 * CROWD_SECONDS)
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"
        return self.ledger

    def _client(self) -> None:
        try:
            with self._connect() as wire:
                wire.deadline = CROWD_SECONDS
                for _ in range(self._each):
                    if self._is_over.is_set():
                        break
                    self._send(wire, body_of(self._octets))
        except (ClosedError, OSError):
            return  # The server went away: that is what some tests are about.
        except Exception as error:  # noqa: BLE001 - told to the one who joins
            self.errors.append(repr(error))

    def _send(self, wire: Wire, body: bytes) -> None:
        envelope(wire)
        wire.send(stuffed(body)[:-3])
        with self._lock:  # From here on it may be kept, whatever we hear.
            self.ledger.unanswered.append(body)
        wire.send(b".\r\n")
        reply = wire.reply()
        with self._lock:
            self.ledger.unanswered.remove(body)
            if reply.startswith(b"250 "):
                self.ledger.acknowledged[reply.split()[-1].decode()] = body
            else:
                self.ledger.refused.append(reply)
            count = len(self.ledger.acknowledged)
        self._enough(count)
