"""What client and server said to each other: the last lines, without mail and secrets."""

from __future__ import annotations

from collections import deque

__all__ = ["Transcript"]

MAX_LINES = 100
MAX_CHARACTERS = 200  # of a line


class Transcript:
    """The last MAX_LINES lines of a session; what is older is left out."""

    __slots__ = ("_left_out", "_lines")

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._left_out = 0

    def heard(self, line: bytes) -> None:
        """Note a line of the client; of AUTH its mechanism alone."""
        verb, _, rest = line.partition(b" ")
        if verb.upper() == b"AUTH":
            line = b" ".join((verb, rest.partition(b" ")[0]))
        self._add("C: ", line)

    def noted(self, what: str) -> None:
        """Note something that is no line, such as a message."""
        self._add("C: ", f"({what})".encode())

    def said(self, reply: bytes) -> None:
        """Note a reply of the server, which may have several lines."""
        for line in reply.splitlines():
            self._add("S: ", line)

    def _add(self, who: str, line: bytes) -> None:
        self._left_out += len(self._lines) == MAX_LINES
        text = line[: MAX_CHARACTERS + 1].decode("utf-8", "replace")
        shown = "".join(one if one.isprintable() else "\ufffd" for one in text)
        cut = shown if len(line) <= MAX_CHARACTERS else f"{shown[:MAX_CHARACTERS]}…"
        self._lines.append(who + cut)

    def lines(self) -> list[str]:
        """Return the lines, oldest first."""
        left_out = [f"({self._left_out} lines left out)"] if self._left_out else []
        return [*left_out, *self._lines]
