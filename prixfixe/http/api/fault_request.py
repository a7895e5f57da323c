"""What a POST of a fault asks for; whatever is not understood is a 400 that says what to write.

Names are read in any case.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.exceptions import HTTPException

from prixfixe.faults.registry import CHAOS_STAGES, Chaos
from prixfixe.faults.rule import (
    MAX_DELAY_SECONDS,
    Action,
    Match,
    is_mailbox_pattern,
    read_network,
    read_reply,
)
from prixfixe.http.api.delete_request import body_of
from prixfixe.settings.parse import duration
from prixfixe.smtp.hindrance import STAGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

__all__ = ["DEFAULT_TTL_SECONDS", "FaultRequest", "json_body", "read_chaos", "read_fault"]

DEFAULT_TTL_SECONDS = 60.0
MAX_TTL_SECONDS = 3600.0
MAX_TIMES = 1_000_000
MAX_CLOSE_AFTER = 2**30
MAX_TEXT = 1000
_ALLOWED = ("stage", "match", "action", "times", "ttl")
_ACTIONS = ("reply", "delay", "drop", "stall", "close_after")
_MATCHES = ("to", "from", "peer", "helo")
# What is known of a session by then; nothing else can be matched at a stage.
_KNOWN = {
    "connect": ("peer",),
    "ehlo": ("peer", "helo"),
    "starttls": ("peer", "helo"),
    "auth": ("peer", "helo"),
    "mail": ("peer", "helo", "from"),
    "rcpt": _MATCHES,
    "data": _MATCHES,
    "eod": _MATCHES,
}
_EXAMPLE = (
    'such as {"match": {"to": "ann@example.com"}, "stage": "rcpt",'
    ' "action": {"reply": "451 4.2.1 busy"}, "times": 1, "ttl": "60s"}'
)


class FaultRequest(NamedTuple):
    """A fault as it is asked for; `seconds` is its life."""

    stage: str
    match: Match
    action: Action
    times: int | None
    seconds: float


async def json_body(request: Request, expected: str) -> dict[str, Any]:
    """Return a JSON object, with names in lower case at every depth; or answer 400."""
    try:
        found = json.loads(await body_of(request) or b"null", object_pairs_hook=_named)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HTTPException(400, f"expected a JSON object {expected}, each name once")
    return found


def _named(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = {name.lower(): value for name, value in pairs}
    if len(fields) != len(pairs):
        raise ValueError("a name is written twice")
    return fields


async def read_fault(request: Request) -> FaultRequest:
    """Return the fault that is asked for; or answer 400."""
    fields = await json_body(request, _EXAMPLE)
    _known_names("a fault", fields, _ALLOWED)
    stage = fields.get("stage")
    if stage not in STAGES:
        raise _wrong("stage", stage, f"one of {', '.join(STAGES)}")
    match = _match(fields.get("match"), stage)
    action = _action(fields.get("action"), stage)
    times = fields.get("times")
    if times is not None and not _is_whole(times, 1, MAX_TIMES):
        raise _wrong("times", times, f"a whole number from 1 to {MAX_TIMES}, or none for any")
    ttl = fields.get("ttl")
    seconds = DEFAULT_TTL_SECONDS if ttl is None else _seconds("ttl", ttl, MAX_TTL_SECONDS)
    return FaultRequest(stage, match, action, times, seconds)


async def read_chaos(request: Request) -> dict[str, Chaos]:
    """Return Mailpit's triggers by name, as far as they are given; or answer 400."""
    example = 'such as {"Sender": {"ErrorCode": 451, "Probability": 50}}'
    fields = await json_body(request, example)
    known = {name.lower(): name for name in CHAOS_STAGES}
    _known_names("chaos", fields, tuple(known))
    return {known[name]: _chaos(known[name], value) for name, value in fields.items()}


def _chaos(name: str, value: object) -> Chaos:
    if not isinstance(value, dict) or set(value) != {"errorcode", "probability"}:
        raise _wrong(name, value, '{"ErrorCode": 451, "Probability": 50}')
    code, percent = value["errorcode"], value["probability"]
    if not _is_whole(code, 400, 599):
        raise _wrong(f"{name}.ErrorCode", code, "a whole number from 400 to 599")
    if not _is_whole(percent, 0, 100):
        raise _wrong(f"{name}.Probability", percent, "a whole number from 0 to 100")
    return Chaos(code, percent)


def _wrong(name: str, value: object, expected: str) -> HTTPException:
    shown = json.dumps(value)
    shown = shown if len(shown) <= 100 else f"{shown[:100]}…"
    return HTTPException(400, f"{name}: {shown}: expected {expected}")


def _known_names(what: str, fields: dict[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise HTTPException(400, f"{what}: {unknown[0][:100]!a}: expected {', '.join(known)}")


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _seconds(name: str, value: object, most: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        seconds = duration(0)(f"{value:.3f}" if is_number else str(value))
    except (ValueError, OverflowError):
        seconds = -1.0
    is_right = (is_number or isinstance(value, str)) and 0 < seconds <= most
    if not is_right:
        raise _wrong(name, value, f'a duration such as "3s" or "500ms", at most {most:g}s')
    return seconds


def _match(value: object, stage: str) -> Match:
    if not isinstance(value, dict):
        expected = 'an object such as {"to": "ann@example.com"}; {} matches every session'
        raise _wrong("match", value, expected)
    _known_names("match", value, _MATCHES)
    for name, text in value.items():
        _check_matched(name, text)
    unknown = [name for name in value if name not in _KNOWN[stage]]
    if unknown:
        known = ", ".join(_KNOWN[stage])
        text = f"match: {unknown[0]} is not known yet at {stage}: match {known}, or a later stage"
        raise HTTPException(400, text)
    return Match(value.get("to"), value.get("from"), value.get("peer"), value.get("helo"))


_IS_MATCHED: dict[str, tuple[Callable[[str], bool], str]] = {
    "to": (is_mailbox_pattern, "an address, or @example.com for a domain"),
    "from": (
        lambda text: not text or is_mailbox_pattern(text),
        'an address, @example.com for a domain, or "" for a bounce',
    ),
    "peer": (
        lambda text: read_network(text) is not None or _is_host_and_port(text),
        "an address such as 192.0.2.1, a network, or 192.0.2.1:25001",
    ),
    "helo": (lambda text: bool(text) and text.isprintable(), "the name of HELO or EHLO"),
}


def _check_matched(name: str, text: object) -> None:
    is_right, expected = _IS_MATCHED[name]
    if not isinstance(text, str) or len(text) > MAX_TEXT or not is_right(text):
        raise _wrong(f"match.{name}", text, expected)


def _is_host_and_port(text: str) -> bool:
    host, _, port = text.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and len(port) <= 5
    return is_port and read_network(host.strip("[]")) is not None


def _action(value: object, stage: str) -> Action:
    expected = ", ".join(_ACTIONS)
    if not isinstance(value, dict) or len(value) != 1:
        example = '{"reply": "451 4.2.1 busy"}'
        raise _wrong("action", value, f"an object with one of {expected}, such as {example}")
    _known_names("action", value, _ACTIONS)
    ((name, given),) = value.items()
    return _READ[name](given, stage)


def _reply(value: object, _stage: str) -> Action:
    if not isinstance(value, str) or read_reply(value) is None:
        expected = 'one line of ASCII with a code of 4xx or 5xx, such as "451 4.2.1 busy"'
        raise _wrong("action.reply", value, f"{expected}; an enhanced code has the same class")
    return Action(reply=value)


def _delay(value: object, _stage: str) -> Action:
    return Action(delay=_seconds("action.delay", value, MAX_DELAY_SECONDS))


def _drop(value: object, _stage: str) -> Action:
    if value is not True:
        raise _wrong("action.drop", value, "true")
    return Action(is_drop=True)


def _stall(value: object, _stage: str) -> Action:
    if value is not True:
        raise _wrong("action.stall", value, "true")
    return Action(is_stall=True)


def _close_after(value: object, stage: str) -> Action:
    if stage == "eod":
        raise HTTPException(400, 'action.close_after: the message has ended at eod: use "data"')
    if not isinstance(value, int) or not _is_whole(value, 0, MAX_CLOSE_AFTER):
        raise _wrong("action.close_after", value, f"whole bytes from 0 to {MAX_CLOSE_AFTER}")
    return Action(close_after=value)


_READ: dict[str, Callable[[object, str], Action]] = {
    "reply": _reply,
    "delay": _delay,
    "drop": _drop,
    "stall": _stall,
    "close_after": _close_after,
}
