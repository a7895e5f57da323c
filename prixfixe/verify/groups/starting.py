"""PF-RUN, what a start makes of its surroundings: wrong settings, too little of the machine, names."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prixfixe.verify.dialogue.servers import NotOfferedError, UnseenError
from prixfixe.verify.groups.common import deliver, expect, host_file, letter, listening, need_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.verify.bench import Bench
    from prixfixe.verify.targets.base import Launch

__all__ = ["TABLE"]

END_SECONDS = 40.0
STRANGE = "strange-environment"
EVERY = "0" * 32  # the address :: in /proc/net/tcp6


def _refused(bench: Bench, *, by_machine: bool) -> None:
    rows = [
        one
        for one in bench.promised("start", "refused")
        if ({"pids", "volume"} & one.keys() != set()) == by_machine
    ]
    if not rows:
        raise NotOfferedError("the contract promises no such end (start.refused)")
    if not bench.source.can_start or (by_machine and not bench.source.has_image):
        raise UnseenError("this target cannot be started so")
    for one in rows:
        _check_ends(bench, one)


def _check_ends(bench: Bench, row: dict[str, Any]) -> None:
    """Start as a row says, and look for an end with its words and without a traceback."""
    with contextlib.ExitStack() as stack:
        launch = _launch(bench, row)
        if row.get("volume") == "read-only":
            volume = stack.enter_context(bench.volume())
            launch = replace(launch, volume=volume, is_read_only=True)
        _check_end(bench, row, launch)


def _check_end(bench: Bench, row: dict[str, Any], launch: Launch) -> None:
    running = bench.begin(launch)
    what = f"env {row.get('env', {})}, pids {row.get('pids')}, volume {row.get('volume')}"
    try:
        try:
            code = running.machine.wait(END_SECONDS)
        except TimeoutError:
            expect(False, f"with {what} it goes on")
        told = running.machine.logs()
    finally:
        running.stop(9)
    bench.note("last words", told[-1000:])
    expect(code, f"with {what} it ended as if all were well")
    expect("Traceback (most recent" not in told, f"with {what} it ended with a traceback")
    for words in row.get("says", ()):
        expect(words in told, f"with {what} it did not say {words!r}, but {told[-300:]!r}")


def _launch(bench: Bench, row: dict[str, Any]) -> Launch:
    launch = bench.launch(also=row.get("env", {}))
    if "pids" in row:
        launch = launch.having(pids_limit=row["pids"])
    if row.get("volume") == "of-root":
        path = bench.promised("target", "volume")
        launch = launch.having(tmpfs={path: "size=16m,uid=0,gid=0,mode=0755"})
    return launch


def _settings(bench: Bench) -> None:
    _refused(bench, by_machine=False)


def _machine(bench: Bench) -> None:
    _refused(bench, by_machine=True)


def _domain(bench: Bench) -> None:
    wanted = str(bench.promised("promise", "domain"))
    with bench.target.using("D").connect() as wire:
        words = wire.reply().decode("latin-1").replace("-", " ", 1).split()
    expect(words[1:2] == [wanted], f"the greeting names {words[1:2]}, not {wanted!r}")


def _both_families(bench: Bench) -> None:
    need_image(bench)
    if not bench.promised("image", "ipv6"):
        raise NotOfferedError("the contract does not promise it (image.ipv6)")
    server: Any = bench.target.using("D")
    port = server.smtp_port
    found = listening(host_file(server, "net/tcp6"))
    expect((EVERY, port) in found, f"nobody listens on [::]:{port}")


def _strange(bench: Bench) -> None:
    if STRANGE not in bench.contract.table("configurations"):
        raise NotOfferedError(f"the contract has no configuration {STRANGE}")
    if not bench.source.can_start:
        raise UnseenError("this target cannot be started so")
    with bench.one(bench.launch([STRANGE])) as running, running.hello() as wire:
        answer = deliver(wire, letter(bench, "strange"))
        expect(answer[:3] == b"250", f"a message is not taken: {answer!r}")


TABLE: tuple[tuple[Callable[[Bench], None], str, str, str, str], ...] = (
    (_settings, "What is set wrongly stops the start, and is named.", "must", "start.refused", "full"),
    (_machine, "What the machine does not give stops the start, with the remedy.", "should", "start.refused", "full"),
    (_domain, "The greeting has the promised domain.", "must", "promise.domain", "smoke"),
    (_both_families, "It listens on IPv6 too.", "should", "image.ipv6", "full"),
    (_strange, "Variables that are meant for others change nothing.", "should", f"configurations.{STRANGE}", "full"),
)  # fmt: skip
