"""An SMTP client that writes each message and its reply into a ledger.

A message is in the ledger before its first byte is sent. Each message is offered once, without
retries.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from prixfixe.verify.dialogue.wire import ClosedError, Wire

if TYPE_CHECKING:
    from tests.durability.ledger import Ledger, Sent

__all__ = ["Client", "deliver_until_dead"]


class Client:
    """One session, greeted."""

    def __init__(self, port: int, ledger: Ledger, deadline: float = 60.0) -> None:
        self.ledger = ledger
        self.wire = Wire(("127.0.0.1", port), deadline=deadline)
        try:
            self._expect(220)
            self.wire.send(b"EHLO client.example\r\n")
            self._expect(250)
        except BaseException:
            self.wire.close()
            raise

    def _expect(self, code: int) -> None:
        reply = self.wire.reply()
        assert reply.startswith(b"%d" % code), reply

    def open_data(self, octets: int = 2000, recipients: int = 1) -> Sent | None:
        """Offer a message up to the 354; None when it was refused before, which is noted."""
        sent = self.ledger.compose(octets, recipients)
        lines = [f"MAIL FROM:<{sent.sender}> SIZE={len(sent.body)}"]
        lines += [f"RCPT TO:<{each}>" for each in sent.recipients]
        self.wire.send("".join(f"{each}\r\n" for each in (*lines, "DATA")).encode())
        replies = [self.wire.reply() for _ in range(len(lines) + 1)]
        if replies[-1].startswith(b"354"):
            return sent
        self.ledger.answered(sent, next(each for each in replies if each[:1] in b"45"))
        return None

    def end_data(self, sent: Sent) -> None:
        """Send the body and its end, and do not wait."""
        stuffed = re.sub(rb"(?m)^\.", b"..", sent.body)
        self.wire.send(stuffed + b".\r\n")

    def hear(self, sent: Sent) -> int:
        """Wait for the answer and note it."""
        reply = self.wire.reply()
        self.ledger.answered(sent, reply)
        return sent.code

    def offer(self, octets: int = 2000) -> Sent:
        """Send a whole message and do not wait for its answer."""
        sent = self.open_data(octets)
        assert sent is not None
        self.end_data(sent)
        return sent

    def send(self, octets: int = 2000, recipients: int = 1) -> int:
        """Send a message and return the code it was answered with."""
        sent = self.open_data(octets, recipients)
        if sent is None:
            return self.ledger.sent[-1].code
        self.end_data(sent)
        return self.hear(sent)

    def noop(self) -> None:
        """Wait until the server has read what was sent before."""
        self.wire.send(b"NOOP\r\n")
        self._expect(250)

    def close(self) -> None:
        self.wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def deliver_until_dead(port: int, ledger: Ledger, sizes: list[int]) -> None:
    """Send messages of these sizes, one after the other, until the server is gone."""
    try:
        with Client(port, ledger) as client:
            for octets in sizes:
                client.send(octets)
    except (ClosedError, ConnectionError):
        return
