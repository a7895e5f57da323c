"""Servers that are broken in one bound each: Python that patches it by name before the server runs.

Each names the floods of which at least one must turn red, and what the judge then says.
"""

from typing import NamedTuple

__all__ = ["MUTANTS", "Mutant"]


class Mutant(NamedTuple):
    """What is broken, by which code, which floods tell, and in which words."""

    why: str
    floods: tuple[str, ...]
    told: str
    code: str


MUTANTS = {
    "input is read whatever waits": Mutant(
        "flow control ignored",
        ("PF-FLD-001", "PF-FLD-002"),
        "memory: |mail was answered|killed for its memory",
        """
from prixfixe.connection import connection
connection.PAUSE_OCTETS = 1 << 40
""",
    ),
    "a slice without an end": Mutant(
        "a session works on all it was sent before another has its turn",
        ("PF-FLD-001", "PF-FLD-003"),
        "was answered after|timed out",
        """
from prixfixe.connection import connection
connection.SLICE_REPLIES, connection.SLICE_SECONDS = 1 << 30, 1e9
""",
    ),
    "replies that nobody takes": Mutant(
        "a client that does not read is answered all the same",
        ("PF-FLD-009", "PF-FLD-010"),
        "memory: ",
        """
from prixfixe.connection.connection import Connection
Connection.pause_writing = lambda self: None
""",
    ),
    "no budget for bodies": Mutant(
        "as many bodies as are sent are held",
        ("PF-FLD-015",),
        "memory: |killed for its memory",
        """
from prixfixe.server import app as server
budget = server.Budget
server.Budget = lambda _total, most: budget(1 << 40, most)
""",
    ),
    "no budget for bodies of HTTP": Mutant(
        "as many bodies of requests as are sent are held",
        ("PF-FLD-079",),
        "memory: |killed for its memory",
        """
from prixfixe.http import bodies
bodies.FREE_OCTETS = bodies.MAX_OCTETS
""",
    ),
    "TLS that reads ahead": Mutant(
        "the buffers of TLS are nobody's",
        ("PF-FLD-040", "PF-FLD-030"),
        "memory: ",
        """
from prixfixe.connection import flow
flow.TLS_BUFFER_OCTETS = 1 << 26
""",
    ),
    "chunks by the octet": Mutant(
        "a turn of HTTP is bounded in octets, and its cost is by the chunk",
        ("PF-FLD-078", "PF-FLD-064"),
        "was answered after|timed out",
        """
from prixfixe.http import turns, wire
wire.STEP_OCTETS = 1 << 22
turns.SLICE_SECONDS = 1e9
""",
    ),
    "no budget for answers": Mutant(
        "as many answers as are asked for are made",
        ("PF-FLD-068",),
        "memory: |killed for its memory",
        """
from prixfixe.http import shelf
init = shelf.Shelf.__init__
shelf.Shelf.__init__ = lambda self, total=0: init(self, 1 << 40)
""",
    ),
    "answers buffered whole": Mutant(
        "an answer counts as sent once it is written",
        ("PF-FLD-068",),
        "memory: |killed for its memory",
        """
from prixfixe.http.wire import Wire
Wire.pause_writing = lambda self: None
""",
    ),
    "attempts on the loop": Mutant(
        "all attempts are looked through where everybody waits",
        ("PF-FLD-094",),
        "was answered after|timed out",
        """
from starlette.responses import Response
from prixfixe.http.api.made import MadeAnswers
from prixfixe.smtp import address
address.MailboxPattern.matches = lambda _, one: not address.comparable(one)
async def made(self, request, make, status=200):
    return Response(make(), status)
MadeAnswers.json = made
""",
    ),
    "loses every fifth message": Mutant(
        "what is acknowledged during a flood is not kept",
        ("PF-FLD-001",),
        "lost: ",
        """
import asyncio, itertools
from prixfixe.stores.group_commit import GroupStore
put, numbers = GroupStore.put, itertools.count(1)
def lossy(self, message):
    if next(numbers) % 5:
        return put(self, message)
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done
GroupStore.put = lossy
""",
    ),
    "a descriptor for every session": Mutant(
        "the server is not back where it was",
        ("PF-FLD-001",),
        "left behind: descriptors=",
        """
import os
from prixfixe.connection import connection
init = connection.Connection.__init__
def leaking(self, *args):
    init(self, *args)
    os.open("/dev/null", os.O_RDONLY)
connection.Connection.__init__ = leaking
""",
    ),
    "half a handshake is waited for on the loop": Mutant(
        "one client that stops in its handshake stops all",
        ("PF-FLD-041",),
        "was answered after|timed out",
        """
import time
from prixfixe.connection import connection
shake = connection.shake_hands
async def blocking(*args):
    time.sleep(0.2)
    return await shake(*args)
connection.shake_hands = blocking
""",
    ),
}
