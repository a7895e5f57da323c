"""A command of the user's, for what no adapter can read.

It prints one JSON object a message, oldest first: `sender`, `recipients`, and `raw`, the message
as base64. It runs in the container, or on this machine for `cmd://`.
"""

from __future__ import annotations

import base64
import json
import shlex
from typing import TYPE_CHECKING

from prixfixe.verify.dialogue.servers import UnseenError
from prixfixe.verify.readback.base import Readback
from prixfixe.verify.readback.delivered import delivered

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.servers import Stored
    from prixfixe.verify.readback.base import Place

__all__ = ["Command"]


class Command(Readback):
    """Runs `command` for each look."""

    is_at_once = False

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._count = 0

    def clear(self) -> None:
        self._count = len(self.read())

    def messages(self) -> list[Stored]:
        return self.read()[self._count :]

    def read(self) -> list[Stored]:
        command = str(self.place.options.get("command", ""))
        code, out = self.place.machine.run(*shlex.split(command))
        if code:
            msg = f"{command!r} ended with {code}: {out[-200:]!r}"
            raise UnseenError(msg)
        return [_stored(line) for line in out.splitlines() if line.strip()]


def _stored(line: bytes) -> Stored:
    try:
        facts = json.loads(line)
        raw = base64.b64decode(facts["raw"], validate=True)
        return delivered(facts["sender"], facts["recipients"], raw)
    except (ValueError, KeyError, TypeError) as error:
        msg = f"the command printed {line!r:.100}: expected sender, recipients and raw"
        raise UnseenError(msg) from error
