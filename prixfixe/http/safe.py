"""JSON in ASCII, and headers that keep a browser from running what mail contains."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["CLOSE", "SAFE", "json_octets", "safe_headers"]

CLOSE = (b"connection", b"close")
SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)


def json_octets(content: Any) -> bytes:  # noqa: ANN401 - whatever JSON can hold
    """Return JSON and a line end."""
    return json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n"


def safe_headers(kind: str, length: int) -> list[tuple[bytes, bytes]]:
    """Return the headers of a body."""
    return [(b"content-type", kind.encode()), (b"content-length", b"%d" % length), *SAFE]
