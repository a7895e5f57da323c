"""Compile each event of the table into a function that writes its records, as JSON or as text.

Text is cut at MAX_TEXT characters and escaped: a client can neither forge a record nor send control
characters to a terminal (CWE-117).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, cast

from prixfixe.telemetry.events import EVENTS, FIELDS

if TYPE_CHECKING:
    from prixfixe.telemetry.events import Event

__all__ = ["ADDRESS_MASKS", "MAX_TEXT", "AddressMask", "LogFormat", "Timestamp", "sanitize"]

MAX_TEXT = 256  # characters of a value; few addresses are longer
_quote = json.encoder.encode_basestring_ascii

AddressMask = Callable[[str | None], str | None]


def _keep_domain(address: str | None) -> str | None:
    _, at, domain = (address or "").rpartition("@")
    return f"*@{domain}" if at else _keep_nothing(address)


def _keep_nothing(address: str | None) -> str | None:
    return "*" if address else address


# By the value of SMTP_LOG_ADDRESSES. The sender of a bounce stays empty, an absent user null.
ADDRESS_MASKS: dict[str, AddressMask | None] = {
    "full": None,
    "domain": _keep_domain,
    "none": _keep_nothing,
}


class Timestamp:
    """Format times as RFC 3339 in UTC with milliseconds; the text of a millisecond is reused."""

    __slots__ = ("_millisecond", "_second")

    def __init__(self) -> None:
        # A time and its text are replaced together, as one tuple: any thread may ask.
        self._second = self._millisecond = (-1, "")

    def __call__(self, now: float) -> str:
        """Return the text of a time in seconds since the epoch."""
        millisecond = int(now * 1000)
        known, text = self._millisecond
        if millisecond != known:
            second, rest = divmod(millisecond, 1000)
            text = f"{self._to_second(second)}.{rest:03d}Z"
            self._millisecond = millisecond, text
        return text

    def _to_second(self, second: int) -> str:
        known, text = self._second
        if second != known:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second, text
        return text


def sanitize(text: str) -> str:
    """Cut a text, and escape it if it has characters that cannot be printed."""
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + "…"
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


class LogFormat(NamedTuple):
    """How records are written: as text or as JSON, with or without a mask over addresses."""

    is_text: bool
    mask: AddressMask | None = None

    def writer(self, name: str, put: Callable[[str], None]) -> Callable[..., None]:
        """Return a function that makes a record of an event and passes it to `put`.

        Its keyword arguments are the event's fields. It raises `TypeError` for an argument that is
        no field, and for a field that is missing.

        The function is compiled, as `collections.namedtuple` compiles one. A record of nine fields
        takes 2 us; a loop over the fields took 3, structlog 11.

        Raises:
            KeyError: the table has no such event.

        """
        event = EVENTS[name]
        source = _source(name, event, is_text=self.is_text, is_masked=self.mask is not None)
        names = {**_HELPERS, "_put": put, "_mask": self.mask}
        exec(source, names)  # noqa: S102 - nothing but the table's own names is in it
        return cast("Callable[..., None]", names["write"])


# How a field is written, by its kind. @ stands for its name, # for the number of its decimals.
_JSON = {
    "string": ',"@":"{@}"',
    "integer": ',"@":{@}',
    "number": ',"@":{@:.#f}',
    "boolean": ',"@":{_boolean(@)}',
    "nullable": ',"@":{"null" if @ is None else _json_string(@)}',
    "optional": "{_json_optional('@', @)}",
    "trace": "{_json_trace(@)}",
}
_TEXT = {
    "string": " @={_word(@)}",
    "integer": " @={@}",
    "number": " @={@:.#f}",
    "boolean": " @={_boolean(@)}",
    "nullable": "{_text_optional('@', @)}",
    "optional": "{_text_optional('@', @)}",
    "trace": "{_text_trace(@)}",
}


def _source(name: str, event: Event, *, is_text: bool, is_masked: bool) -> str:
    """Return the source of a writer, which masks addresses, escapes texts and puts the record."""
    kinds = {each: _kind(event, each) for each in (*event.fields, *event.optional)}
    lines = [f"def write({_parameters(event)}):"]
    if is_masked:
        lines += [f"{each} = _mask({each})" for each in kinds if FIELDS[each].type == "address"]
    if not is_text:
        lines += _escapes([each for each, kind in kinds.items() if kind == "string"])
    template = _text_template if is_text else _json_template
    lines.append(f"_put(f'''{template(name, event.level, kinds)}''')")
    return "\n    ".join(lines)


def _parameters(event: Event) -> str:
    names = [*event.fields, *(f"{name}=None" for name in event.optional)]
    return ", ".join(["*", *names]) if names else ""


def _kind(event: Event, name: str) -> str:
    if name == "trace":  # The server's own text of many lines: it is not cut, and comes last.
        return "trace"
    if name in event.optional:
        return "optional"
    if name in event.nullable:
        return "nullable"
    return "string" if FIELDS[name].type == "address" else FIELDS[name].type


def _escapes(texts: list[str]) -> list[str]:
    """Return the line that escapes the texts of a JSON record, if one of them needs it.

    They are tested together, because few records need it: 0.4 us instead of 1.2.
    """
    if not texts:
        return []
    joined = "".join(f"{{{name}}}" for name in texts)
    escaped = "; ".join(f"{name} = _escape({name})" for name in texts)
    return [f"if not _is_plain(f'{joined}'): {escaped}"]


def _json_template(name: str, level: str, kinds: dict[str, str]) -> str:
    head = f'"time":"{{_time(_now())}}","level":"{level}","event":"{name}"'
    return f"{{{{{head}{_fields(_JSON, kinds)}}}}}"


def _text_template(name: str, level: str, kinds: dict[str, str]) -> str:
    in_order = dict(sorted(kinds.items(), key=lambda item: item[1] == "trace"))
    return f"{{_time(_now())}} {level:<8}{name}{_fields(_TEXT, in_order)}"


def _fields(forms: dict[str, str], kinds: dict[str, str]) -> str:
    return "".join(
        forms[kind].replace("@", name).replace("#", str(FIELDS[name].decimals))
        for name, kind in kinds.items()
    )


# --- what the compiled functions call


def _is_plain(text: str) -> bool:
    """Whether a text, and each part of it, can stand in a JSON string as it is."""
    return (
        len(text) <= MAX_TEXT
        and text.isascii()
        and text.isprintable()
        and '"' not in text
        and "\\" not in text
    )


def _escape(value: object) -> str:
    return _json_string(value)[1:-1]


def _boolean(value: object) -> str:
    return "true" if value else "false"


def _json_string(value: object) -> str:
    return _quote(sanitize(str(value)))


def _json_optional(name: str, value: object) -> str:
    return "" if value is None else f',"{name}":{_json_string(value)}'


def _json_trace(trace: str | None) -> str:
    return "" if trace is None else f',"trace":{_quote(trace)}'


def _word(value: object) -> str:
    text = sanitize(str(value))
    return json.dumps(text, ensure_ascii=False) if " " in text or '"' in text else text


def _text_optional(name: str, value: object) -> str:
    return "" if value is None else f" {name}={_word(value)}"


def _text_trace(trace: str | None) -> str:
    return "" if trace is None else f"\n{trace}"


_HELPERS: dict[str, object] = {
    helper.__name__: helper
    for helper in (
        *(_is_plain, _escape, _boolean, _word),
        *(_json_string, _json_optional, _json_trace, _text_optional, _text_trace),
    )
} | {"_now": time.time, "_time": Timestamp()}
