"""One fault as a value: whom it is for, at which stage, what it does, and how often."""

from __future__ import annotations

import ipaddress
import math
import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.smtp import replies
from prixfixe.smtp.address import comparable
from prixfixe.smtp.hindrance import Hindrance

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from prixfixe.smtp.hindrance import Facts
    from prixfixe.smtp.replies import Reply

__all__ = [
    "MAX_DELAY_SECONDS",
    "Action",
    "Known",
    "Match",
    "Rule",
    "is_mailbox_pattern",
    "read_network",
    "read_reply",
]

MAX_DELAY_SECONDS = 300.0  # RFC 5321 4.5.3.2: most clients wait no longer
MAX_REPLY_CHARACTERS = 510  # with its CRLF a line of RFC 5321 4.5.3.1.5
_REPLY = re.compile(r"[45][0-9][0-9](?:| [ -~]*)")
_ENHANCED = re.compile(r"... ([245])\.[0-9]{1,3}\.[0-9]{1,3}(?: |\Z)")


def read_reply(text: str, cause: str = "") -> Reply | None:
    """Return the reply that one line of 4xx or 5xx is, or None for anything else.

    Its class is also that of its enhanced code, if it has one (RFC 2034 section 4).
    """
    if len(text) > MAX_REPLY_CHARACTERS or _REPLY.fullmatch(text) is None:
        return None
    enhanced = _ENHANCED.match(text)
    if enhanced is not None and enhanced[1] != text[0]:
        return None
    return replies.fault(text, cause)


def is_mailbox_pattern(text: str) -> bool:
    """Whether a text is `user@example.com` or `@example.com`."""
    _, at, domain = text.rpartition("@")
    return bool(at and domain) and text.isprintable() and " " not in text


@lru_cache(maxsize=1000)
def read_network(text: str) -> IPv4Network | IPv6Network | None:
    """Return the network that an address or a network is, or None."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


class Match(NamedTuple):
    """Whom a fault is for; None matches everything. All parts must match.

    `to` and `sender` are addresses, or `@` and a domain. `peer` is an address, a network, or an
    address with a port.
    """

    to: str | None = None
    sender: str | None = None
    peer: str | None = None
    helo: str | None = None

    def comparable(self) -> Match:
        """Return it with addresses as `Known` has them."""
        to, sender = self.to, self.sender
        return self._replace(
            to=None if to is None else comparable(to),
            sender=None if sender is None else comparable(sender),
        )

    def takes(self, known: Known) -> bool:
        """Whether a fault is for a session; addresses are in their comparable form."""
        facts = known.facts
        return (
            (self.to is None or self.to in known.recipients)
            and (self.sender is None or self.sender in known.senders)
            and (self.helo is None or self.helo.lower() == facts.helo.lower())
            and (self.peer is None or _is_peer(self.peer, facts.peer))
        )


class Known:
    """What is known of a session, once for all faults: addresses, and `@` and their domains.

    A session may name a thousand recipients, so they are compared only if a fault is for some.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    @cached_property
    def senders(self) -> frozenset[str]:
        """The sender, in the forms that a fault may match."""
        return _patterns(() if self.facts.sender is None else (self.facts.sender,))

    @cached_property
    def recipients(self) -> frozenset[str]:
        """The recipients, in the forms that a fault may match."""
        return _patterns(self.facts.recipients)


def _patterns(addresses: tuple[str, ...]) -> frozenset[str]:
    compared = [comparable(one) for one in addresses]
    domains = [f"@{one.rpartition('@')[2]}" for one in compared if one]
    return frozenset((*compared, *domains))


def _is_peer(pattern: str, peer: str) -> bool:
    if pattern == peer:
        return True
    network, host = read_network(pattern), peer.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        return network is not None and ipaddress.ip_address(host) in network
    except ValueError:  # The client left before its address was read.
        return False


class Action(NamedTuple):
    """What a fault does: one of these. `delay` is in seconds, `close_after` in bytes."""

    reply: str | None = None
    delay: float | None = None
    is_drop: bool = False
    is_stall: bool = False
    close_after: int | None = None

    def hindrance(self, cause: str) -> Hindrance:
        """Return what the session does; `cause` is the name of the fault."""
        if self.is_stall:
            return Hindrance(seconds=math.inf)
        reply = None if self.reply is None else read_reply(self.reply, cause)
        return Hindrance(self.delay or 0.0, reply, self.is_drop, self.close_after)


class Rule:
    """A fault and how often it was met; `expires_at` is a time of the registry's clock.

    `percent` is the probability that it is met; less than 100 only for Mailpit's chaos.
    """

    __slots__ = (
        "_wanted",
        "action",
        "expires_at",
        "hindrance",
        "hits",
        "id",
        "match",
        "percent",
        "stage",
        "times",
    )

    def __init__(  # noqa: PLR0913 - a record
        self,
        name: str,
        stage: str,
        match: Match,
        action: Action,
        *,
        times: int | None = None,
        expires_at: float = math.inf,
        percent: int = 100,
    ) -> None:
        self.id = name
        self.stage = stage
        self.match = match
        self.action = action
        self.times = times
        self.expires_at = expires_at
        self.percent = percent
        self.hits = 0
        self.hindrance = action.hindrance(name)
        self._wanted = match.comparable()

    @property
    def is_used_up(self) -> bool:
        """Whether it was met as often as it may be."""
        return self.times is not None and self.hits >= self.times

    def takes(self, known: Known) -> bool:
        """Whether it is for this stage of this session."""
        is_now = self.stage == known.facts.stage and not self.is_used_up
        return is_now and self._wanted.takes(known)
