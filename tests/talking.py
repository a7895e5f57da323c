"""A dialogue without a network: the world it asks, and a client that sends in any segments.

Owns: what unit tests, property tests and the fuzzer share. Promises: everything a dialogue asks is
answered at once unless told to wait; what it kept is there to be looked at. Refuses: judging.
"""

from __future__ import annotations

from prixfixe import replies
from prixfixe.session.dialogue import Dialogue
from prixfixe.session.sasl import Proof
from prixfixe.session.terms import Terms
from prixfixe.settings import load

BASE = {"SMTP_BIND": "127.0.0.1", "SMTP_STORE": "memory:"}


class World:
    """An outside that answers at once, unless told to wait."""

    def __init__(self):
        self.kept = []
        self.dialogue = None
        self.is_waiting = False
        self.failure = None
        self.has_room = True
        self.reserved = 0
        self.password = b"secret"
        self.keys_of = None

    def keep(self, envelope, body):
        self.kept.append((envelope, body))
        if not self.is_waiting:
            self.answer()

    def answer(self):
        if self.failure is not None:
            self.kept.pop()
            self.dialogue.failed(self.failure)
        else:
            self.dialogue.kept(f"ID{len(self.kept)}")

    def start_tls(self):
        if not self.is_waiting:
            self.dialogue.tls_begins()
            self.dialogue.tls_started("TLSv1.3 X")

    def scram_keys(self):
        return self.keys_of

    def judge(self, mechanism, claim):
        if isinstance(claim, Proof) and claim.signature:
            self.dialogue.judged(claim.user, replies.AUTHENTICATED, claim.signature)
        elif not isinstance(claim, Proof) and claim.password == self.password:
            self.dialogue.judged(claim.user, replies.AUTHENTICATED)
        else:
            self.dialogue.judged(None, replies.BAD_CREDENTIALS)

    def reserve(self, octets):
        self.reserved += octets
        return self.has_room

    def refused(self, reply, transaction=None):
        pass

    def recipient_refused(self, reply, path):
        pass

    def aborted(self):
        pass

    def release(self):
        self.reserved = 0

    def limited(self, limit):
        pass

    def before_message(self):
        return None


class Talk:
    """One dialogue, whole or in pieces."""

    def __init__(self, terms=None, **variables):
        self.world = World()
        self.counts = []
        self.dialogue = Dialogue(
            terms or Terms(load({**BASE, **variables})),
            self.world,
            lambda: 1.0,
            lambda verb, code: self.counts.append((verb, code)),
        )
        self.world.dialogue = self.dialogue

    def send(self, octets):
        """Return the replies' codes."""
        return [int(line[:3]) for line in self.say(octets) if line[3:4] != "-"]

    def say(self, octets):
        self.dialogue.receive(octets)
        while self.dialogue.work():
            pass
        text = b"".join(self.dialogue.output).decode("ascii")
        self.dialogue.output.clear()
        return text.split("\r\n")[:-1]

    def in_pieces(self, octets, size):
        return [
            code for at in range(0, len(octets), size) for code in self.send(octets[at : at + size])
        ]
