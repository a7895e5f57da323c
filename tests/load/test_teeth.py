"""The proof can fail: servers that are broken in one way each turn it red, and say how."""

import pytest

from tests.container.box import PYTHON
from tests.load.proving import prove
from tests.load.warm import aimed

# `turn` is 0 at every hundredth message.
BROKEN = """
import itertools, os, sys
from prixfixe.cli.main import main
from prixfixe.stores.group_commit import GroupStore

put, turns, left = GroupStore.put, itertools.count(), []

def broken_put(self, message):
    turn = next(turns) % 100
    {code}
    return put(self, message)

GroupStore.put = broken_put
sys.exit(main(["serve"]))
"""
FORGET = "if turn == 0: f = self._loop.create_future(); f.set_result(None); return f"
ANOTHER = 'message.envelope._replace(sender="x@y.test")'
WAYS = {
    "nothing": ("pass", None),
    "forgets one": (FORGET, "breaches.*lost: message"),
    "keeps one twice": (
        "if turn == 0: put(self, message._replace(id=message.id[::-1]))",
        "breaches.*stored 2 times",
    ),
    "changes an octet": (
        'message = message if turn else message._replace(body=message.body[:-3] + b"!\\r\\n")',
        "breaches.*not as anybody sent it",
    ),
    "another envelope": (
        f"message = message if turn else message._replace(envelope={ANOTHER})",
        "breaches.*another envelope",
    ),
    "100 octets left behind": ("left.append(bytes(67))", "memory grows in each of 3 windows"),
    "a descriptor left behind": (
        'turn == 0 and left.append(os.open("/dev/null", os.O_RDONLY))',
        "before the load",
    ),
}


# A leak is found last, so its way goes through all of the proof.
IN_SHORT = "100 octets left behind"


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "way", [one if one == IN_SHORT else pytest.param(one, marks=pytest.mark.full) for one in WAYS]
)
def test_a_broken_server_is_found(way, start):
    code, told = WAYS[way]
    box = start(entrypoint=[PYTHON, "-IBc"], command=[BROKEN.format(code=code)])
    plan = aimed(box, messages=3000, workers=20)
    if told is None:
        prove(box, plan)
        return
    with pytest.raises(AssertionError, match=told):
        prove(box, plan)
