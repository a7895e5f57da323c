"""Record every message of a load and compare the record with the server's store.

`settle` fails on each acknowledged message that is not stored exactly once, whole and with its
envelope. It also fails on each stored message that was not sent or was refused.
"""

import json

from prixfixe.load import letter_to
from tests.container.talk import stuffed
from tests.durability.ledger import Evidence, Found, Ledger, compare

__all__ = ["Account"]

# Reading 10,000 messages over HTTP takes longer than sending them; digests are enough.
READ = """
import hashlib, json
from prixfixe.stores.registry import open_reader
reader = open_reader("sqlite:/var/mail/prixfixe.db")
for name in reader.ids():
    one = reader.get(name)
    names = [each.address for each in one.envelope.recipients]
    print(json.dumps([one.id, one.envelope.sender, names, hashlib.sha256(one.body).hexdigest()]))
"""


class Account:
    """Every letter that was sent to a box."""

    def __init__(self, box):
        self._box = box
        self._ledger = Ledger()

    def post(self):
        """Return who writes the letters of one more plan."""
        return _Post(self._ledger)

    @property
    def acknowledged(self):
        """How many messages were answered 250."""
        return len(self._ledger.kept)

    def settle(self, reader=None):
        """Fail unless the box, or another on its volume, keeps exactly what was acknowledged."""
        reader = reader or self._box
        evidence = Evidence(found=list(read(reader)))
        problems = compare(self._ledger, evidence)
        assert not problems, f"{len(problems)} breaches: {problems[:3]} … {problems[-3:]}"
        unknown = {one.number for one in self._ledger.sent if not one.code}
        assert len(evidence.found) - self.acknowledged <= len(unknown)
        assert reader.http("/api/v1/messages?limit=1").json["total"] == len(evidence.found)


class _Post:
    """The driver's letters, noted in a ledger; bodies are forgotten once they are sent."""

    def __init__(self, ledger):
        self._ledger = ledger
        self._sent = {}

    def letter(self, number, size):
        sent = self._ledger.compose(size)
        self._sent[number] = sent
        letter = letter_to(sent.sender, sent.recipients[0], stuffed(sent.body))
        sent.body = b""
        return letter

    def answered(self, number, code):
        self._sent.pop(number).code = code


def read(box):
    """Yield every message that a box keeps."""
    for line in box.python(READ).splitlines():
        name, sender, recipients, digest = json.loads(line)
        yield Found(name, sender, tuple(recipients), digest)
