"""What client and server said to each other: the last lines, without mail and secrets."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections import deque

__all__ = ["Transcript"]

MAX_LINES = 100
MAX_OCTETS = 200  # of a line
_CLIENT, _SERVER = b"C: ", b"S: "
_LONGEST = len(_CLIENT) + MAX_OCTETS


class Transcript:
    """The last MAX_LINES lines of a session; what is older is left out.

    Lines are bytes until somebody reads them: text may take four times as much memory.
    """

    __slots__ = ("_left_out", "_lines")

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=MAX_LINES)
        self._left_out = 0

    def heard(self, line: bytes) -> None:
        """Note a line of the client; of AUTH its mechanism alone."""
        verb, _, rest = line.partition(b" ")
        if verb.upper() == b"AUTH":
            line = b" ".join((verb, rest.partition(b" ")[0]))
        self._add(_CLIENT, line)

    def noted(self, what: str) -> None:
        """Note something that is no line, such as a message."""
        self._add(_CLIENT, f"({what})".encode())

    def said(self, reply: bytes) -> None:
        """Note a reply of the server, which may have several lines."""
        for line in reply.splitlines():
            self._add(_SERVER, line)

    def _add(self, who: bytes, line: bytes) -> None:
        self._left_out += len(self._lines) == MAX_LINES
        self._lines.append(who + line[: MAX_OCTETS + 1])  # one more tells that it was cut

    def lines(self) -> list[str]:
        """Return the lines, oldest first; any thread may ask."""
        left_out = [f"({self._left_out} lines left out)"] if self._left_out else []
        return [*left_out, *map(_shown, list(self._lines))]


def _shown(line: bytes) -> str:
    is_cut = len(line) > _LONGEST
    # A decoder that expects more leaves out half a character at the end.
    text = getincrementaldecoder("utf-8")("replace").decode(line[:_LONGEST], final=not is_cut)
    shown = "".join(one if one.isprintable() else "\ufffd" for one in text)
    return f"{shown}…" if is_cut else shown
