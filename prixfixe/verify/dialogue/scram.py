"""A SCRAM-SHA-256 client, written from RFC 5802 and not from the server's code.

It uses nothing else of the package, so that a mistake of the server is not repeated here. It makes
the client's two messages and checks the server's last one; the caller sends and receives them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

__all__ = ["ScramClient"]


class ScramClient:
    """One login. `header` and `nonce` may be made wrong."""

    def __init__(
        self, user: str, password: str, *, header: str = "n,,", nonce: str = "rOprNGfwEbeRWgbNEkqO"
    ) -> None:
        self.header = header
        self.bare = f"n={user},r={nonce}"
        self.password = password.encode()

    @property
    def first(self) -> bytes:
        """The client's first message."""
        return (self.header + self.bare).encode()

    def final(self, question: bytes, **wrong: str) -> bytes:
        """Answer the server's question; `nonce` or `header` replace what belongs there."""
        said = question.decode()
        fields = dict(part.split("=", 1) for part in said.split(","))
        salt, rounds = base64.b64decode(fields["s"]), int(fields["i"])
        salted = hashlib.pbkdf2_hmac("sha256", self.password, salt, rounds)
        key = hmac.digest(salted, b"Client Key", "sha256")
        header = base64.b64encode(wrong.get("header", self.header).encode()).decode()
        without = f"c={header},r={wrong.get('nonce', fields['r'])}"
        message = f"{self.bare},{said},{without}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        self.expected = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        return f"{without},p={base64.b64encode(proof).decode()}".encode()

    def is_server(self, final: bytes) -> bool:
        """Tell whether the server showed that it knows the password."""
        return final == b"v=" + base64.b64encode(self.expected)
