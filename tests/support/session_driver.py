"""A session without a network: a server that serves its requests, and a client that sends in pieces."""

from __future__ import annotations

from prixfixe.server.app import offer_of
from prixfixe.settings import load
from prixfixe.smtp import replies
from prixfixe.smtp.requests import CheckLogin, Keep, NeedMemory, ReleaseMemory, StartTls
from prixfixe.smtp.sasl import Proof
from prixfixe.smtp.session import Session

BASE = {"SMTP_BIND": "127.0.0.1", "SMTP_STORE": "memory:"}


class World:
    """A server that answers at once, unless told to wait. `reserved` is the memory a session has."""

    def __init__(self, session):
        self.session = session
        self.kept = []
        self.is_waiting = False
        self.failure = None
        self.has_room = True
        self.reserved = 0
        self.password = b"secret"

    def offer_scram(self, keys_of):
        """Offer SCRAM with the function that returns a user's keys."""
        self.session.state.find_scram = lambda: keys_of

    def serve(self):
        """Do what the session asked for; return whether it asked for anything."""
        requests, is_asked = self.session.requests, False
        while requests:
            is_asked = True
            self._serve_one(requests.pop(0))
        return is_asked

    def _serve_one(self, request):
        match request:
            case Keep(envelope, body):
                self.keep(envelope, body)
            case StartTls() if not self.is_waiting:
                self.session.tls_begins()
                self.session.tls_started("TLSv1.3 X")
            case CheckLogin(mechanism, claim):
                self.judge(mechanism, claim)
            case NeedMemory(size):
                self.reserve(size)
            case ReleaseMemory():
                self.reserved = 0

    def keep(self, envelope, body):
        self.kept.append((envelope, body))
        if not self.is_waiting:
            self.answer()

    def answer(self):
        if self.failure is not None:
            self.kept.pop()
            self.session.failed(self.failure)
        else:
            self.session.kept(f"ID{len(self.kept)}")

    def judge(self, mechanism, claim):
        if isinstance(claim, Proof) and claim.signature:
            self.session.login_checked(claim.user, replies.AUTHENTICATED, claim.signature)
        elif not isinstance(claim, Proof) and claim.password == self.password:
            self.session.login_checked(claim.user, replies.AUTHENTICATED)
        else:
            self.session.login_checked(None, replies.BAD_CREDENTIALS)

    def reserve(self, size):
        self.reserved += size
        if self.has_room:
            self.session.granted()


class _Codes(dict):
    """The replies to one verb by code, each written down as it is counted."""

    def __init__(self, verb, written):
        super().__init__()
        self._verb, self._written = verb, written

    def __missing__(self, code):
        return 0

    def __setitem__(self, code, count):
        self._written.append((self._verb, code))
        super().__setitem__(code, count)


class _Tally(dict):
    def __init__(self):
        super().__init__()
        self.written = []

    def __missing__(self, verb):
        self[verb] = _Codes(verb, self.written)
        return self[verb]


class Talk:
    """One session, whole or in pieces."""

    def __init__(self, offer=None, **variables):
        tally = _Tally()
        self.counts = tally.written  # (verb, code) of every reply
        self.session = Session(offer or offer_of(load({**BASE, **variables})), "", tally)
        self.world = World(self.session)

    @property
    def state(self):
        return self.session.state

    def work(self):
        """Work on all input, and serve all requests."""
        self.world.serve()
        while self.session.work() | self.world.serve():
            if self.session.is_waiting:
                break

    def send(self, octets):
        """Return the replies' codes."""
        return [int(line[:3]) for line in self.say(octets) if line[3:4] != "-"]

    def say(self, octets):
        """Return the lines of the replies."""
        self.session.receive(octets)
        self.work()
        text = b"".join(self.session.output).decode("ascii")
        self.session.output.clear()
        return text.split("\r\n")[:-1]

    def in_pieces(self, octets, size):
        return [
            code for at in range(0, len(octets), size) for code in self.send(octets[at : at + size])
        ]
