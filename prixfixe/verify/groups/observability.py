"""PF-OBS: logs that a client cannot forge, and metrics."""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import re
from typing import TYPE_CHECKING, Any

from prixfixe.verify.cases import Case
from prixfixe.verify.dialogue.servers import NotOfferedError, UnseenError
from prixfixe.verify.dialogue.wire import ClosedError
from prixfixe.verify.groups.api import counted, waited
from prixfixe.verify.groups.common import deliver, expect, letter, noted, until
from prixfixe.verify.readback.base import Place
from prixfixe.verify.readback.web import Web

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.verify.bench import Bench
    from prixfixe.verify.dialogue.servers import Stored

__all__ = ["cases"]

_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]")
_TRACE = re.compile(r"^Received:.*(?:\r?\n[ \t].*)*", re.IGNORECASE | re.MULTILINE)
APART_SECONDS = 600.0  # between clocks, and on the way
_METRIC = re.compile(r"^[a-zA-Z_:][\w:]*(\{.*\})? [-+0-9.eENaInf]+( \d+)?$")


def cases() -> Iterator[Case]:
    """Return the cases of the group."""
    rows = (
        (_no_forged_line, "A client cannot write a line of its own into the log.", "must", "CWE-117"),
        (_no_controls, "Control bytes of clients are not in the log as they are.", "should", "CWE-117"),
        (_json, "Every line of the log is a JSON object.", "must", "contract logs.json"),
        (_queue_id, "The id of the 250 is in the log.", "must", "contract logs.queue_id"),
        (_metrics, "Metrics are in the text format of Prometheus.", "must", "contract health.metrics"),
        (_trace_time, "The time in the trace is now.", "must", "RFC 5321 4.4"),
        (_trace_id, "The id of the 250 is in the trace.", "should", "contract logs.trace_id"),
        (counted, "The counter of accepted messages counts each once.", "must", "contract health.accepted"),
        (waited, "Who waits for a message by HTTP is told.", "must", "contract health.wait"),
        (_ready_line, "The log says that it is ready, with the ports it listens on.", "must", "contract logs.ready"),
    )  # fmt: skip
    for number, (check, title, severity, source) in enumerate(rows, 1):
        yield Case(
            f"PF-OBS-{number:02}",
            title,
            severity,
            source,
            "the container's log, HTTP",
            check,
            "full",
            track="observability",
        )


def _logs(bench: Bench) -> Any:  # noqa: ANN401 - a server whose log can be read
    server = bench.target.using("D")
    server.logs()
    return server


def _hostile(bench: Bench) -> str:
    """Have a client send what would be a line, and return the log afterwards."""
    server = _logs(bench)
    for line in (
        b"EHLO a\rFORGED-LINE b\r\n",
        b"FORGED\x1b[2J\x07x\r\n",
        b"MAIL FROM:<a\rFORGED-LINE@x>\r\n",
    ):
        with server.greeted() as wire:
            try:
                wire.ask(line)
            except ClosedError:
                continue
    with server.hello() as wire:
        deliver(wire, b"Subject: x\r\nX: \xc2\x85FORGED-LINE\r\n\r\nx\r\n")
    return str(server.logs())


def _no_forged_line(bench: Bench) -> None:
    found = [
        line for line in re.split(r"[\r\n]", _hostile(bench)) if line.startswith("FORGED-LINE")
    ]
    expect(not found, f"in the log: {found}")


def _no_controls(bench: Bench) -> None:
    found = [line for line in _hostile(bench).split("\n") if _CONTROLS.search(line)]
    expect(not found, f"in the log: {found[:3]!r}")


def _json(bench: Bench) -> None:
    if not bench.promised("logs", "json"):
        raise NotOfferedError("the contract promises no JSON (logs.json)")
    lines = [line for line in _hostile(bench).splitlines() if line.strip()]
    others = [line for line in lines if not _is_object(line)]
    ready = [line for line in others if " ready " in line]  # one line says that it listens
    expect(len(others) == len(ready) <= 1, f"in the log: {others[:3]}")


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _queue_id(bench: Bench) -> None:
    if not bench.promised("logs", "queue_id"):
        raise NotOfferedError("the contract does not promise it (logs.queue_id)")
    server = _logs(bench)
    with server.hello() as wire:
        answer = deliver(wire, letter(bench, "logged")).decode("latin-1").strip()
    name = answer.split()[-1]
    until(lambda: name in server.logs(), 20, f"{name} of {answer!r} in the log")


def _metrics(bench: Bench) -> None:
    port, _, path = str(bench.promised("health", "metrics")).removeprefix("http:").partition("/")
    server: Any = bench.target.using("D")
    web = Web(Place(server.machine, int(port), {}))
    try:
        lines = web.get(f"/{path}").decode().splitlines()
    except UnseenError as error:
        expect(False, str(error))
    finally:
        web.close()
    wrong = [line for line in lines if line and line[0] != "#" and not _METRIC.match(line)]
    expect(lines and not wrong, f"{len(lines)} lines, of them wrong: {wrong[:3]}")


def _traced(bench: Bench, name: str) -> tuple[str, str]:
    """Deliver a letter; return the answer and the trace header that the server put before it."""
    server = bench.target.using("D")
    with server.hello() as wire:
        answer = deliver(wire, letter(bench, name)).decode("latin-1").strip()
    expect(answer[:3] == "250", f"a message is not taken: {answer}")
    found = [
        one for one in server.settled(lambda all_: name in map(_name, all_)) if _name(one) == name
    ]
    expect(found, "the message is not there")
    trace = _TRACE.search((found[0].raw or b"").decode("latin-1"))
    if trace is None:
        raise UnseenError("no trace header can be seen")
    return answer, re.sub(r"\s+", " ", trace[0])


def _name(one: Stored) -> str:
    return noted(one.body)


def _trace_time(bench: Bench) -> None:
    _, trace = _traced(bench, "timed")
    told = email.utils.parsedate_to_datetime(trace.rpartition(";")[2].strip())
    apart = abs((dt.datetime.now(dt.UTC) - told).total_seconds())
    expect(apart < APART_SECONDS, f"{apart:.0f} s from now: {trace!r}")


def _trace_id(bench: Bench) -> None:
    if not bench.promised("logs", "trace_id"):
        raise NotOfferedError("the contract does not promise it (logs.trace_id)")
    answer, trace = _traced(bench, "traced")
    name = answer.split()[-1]
    expect(name in trace, f"{name} of {answer!r} is not in {trace!r}")


def _ready_line(bench: Bench) -> None:
    pattern = str(bench.promised("logs", "ready"))
    for name in ("smtp_port", "http_port"):
        pattern = pattern.replace(f"{{{name}}}", str(bench.contract.get("target", name, "")))
    said = _logs(bench).logs()
    expect(re.search(pattern, said, re.MULTILINE), f"no line is like {pattern!r}: {said[:300]!r}")
