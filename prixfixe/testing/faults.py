"""Failures on purpose: for one address, at one stage of SMTP, so often, for so long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from prixfixe.testing.api_client import ApiError
from prixfixe.testing.errors import KitError
from prixfixe.testing.times import seconds_of

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from prixfixe.testing.access import Access

__all__ = ["Fault", "Faults"]

_BEFORE_RCPT = ("connect", "ehlo", "starttls", "auth", "mail")
_PATH = "/api/v1/faults"
_FOR_ALL = (
    "stage={!r}: no recipient is known there, and others use this server too: say by sender=, helo="
    " or peer= whom the fault is for, or use the stage rcpt, data or eod"
)


class Fault:
    """A fault that the server has; a context manager that removes it."""

    def __init__(self, access: Access, fault_id: str) -> None:
        self._access = access
        self.id = fault_id

    @property
    def hits(self) -> int:
        """How often it was met. Raises `KitError`: it was removed, or its time is over."""
        return int(self._access.api.json("GET", f"{_PATH}/{quote(self.id)}")["Hits"])

    def remove(self) -> None:
        """Remove it; nothing happens if it is gone already."""
        try:
            self._access.api.json("DELETE", f"{_PATH}/{quote(self.id)}")
        except ApiError as error:
            if error.status != 404:
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()


class Faults:
    """The faults of one inbox."""

    def __init__(self, access: Access, address: str) -> None:
        self._access = access
        self._address = address
        self._added: list[Fault] = []

    def add(  # noqa: PLR0913 - docs/testing.md names them
        self,
        *,
        stage: str,
        reply: str | None = None,
        delay: float | str | None = None,
        drop: bool = False,
        stall: bool = False,
        close_after: int | None = None,
        times: int | None = None,
        ttl: float | str = "60s",
        to: str | None = None,
        sender: str | None = None,
        peer: str | None = None,
        helo: str | None = None,
    ) -> Fault:
        """Make the server fail for whom it matches.

        Args:
            stage: connect, ehlo, starttls, auth, mail, rcpt, data, or eod (the end of the data).
            reply: answer with this, such as "451 4.2.1 busy"; 4xx and 5xx only.
            delay: answer later: seconds, or a text such as "3s".
            drop: close the connection.
            stall: never answer.
            close_after: close the connection after so many bytes of data.
            times: how often; without it, until `ttl` is over.
            ttl: how long the fault lives.
            to: a recipient, or `@` and a domain; from the stage `rcpt` on, the inbox's address by
                default. Before that stage no recipient is known, and the fault is for everybody who
                uses the server, unless one of the following says whom it is for.
            sender: the sender of the envelope.
            peer: the client's IP address.
            helo: the name that the client gives in EHLO.

        Raises:
            KitError: an argument cannot be used, or the server takes no faults.

        """
        match = {"to": to, "from": sender, "peer": peer, "helo": helo}
        match = {name: value for name, value in match.items() if value is not None}
        if not match and stage not in _BEFORE_RCPT:
            match["to"] = self._address
        elif not match and self._access.is_shared:
            raise KitError(_FOR_ALL.format(stage))
        asked: dict[str, Any] = {
            "match": match,
            "stage": stage,
            "action": _action(reply, delay, close_after, drop=drop, stall=stall),
            "ttl": f"{seconds_of('ttl', ttl):g}s",
        }
        if times is not None:
            asked["times"] = times
        made = self._access.api.json("POST", _PATH, body=asked)
        fault = Fault(self._access, made["ID"])
        self._added.append(fault)
        return fault

    def clear(self) -> None:
        """Remove the faults that were added here."""
        added, self._added = self._added, []
        for fault in added:
            fault.remove()


def _action(
    reply: str | None,
    delay: float | str | None,
    close_after: int | None,
    *,
    drop: bool,
    stall: bool,
) -> dict[str, Any]:
    named: dict[str, Any] = {
        "reply": reply,
        "delay": None if delay is None else f"{seconds_of('delay', delay):g}s",
        "drop": drop or None,
        "stall": stall or None,
        "close_after": close_after,
    }
    found = {name: value for name, value in named.items() if value is not None}
    if len(found) != 1:
        given = ", ".join(found) or "nothing"
        expected = "one of reply=, delay=, drop=True, stall=True, close_after="
        raise KitError(f"a fault does one thing: expected {expected}; got {given}")
    return found
