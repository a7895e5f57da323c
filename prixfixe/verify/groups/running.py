"""PF-RUN: how the server starts, with which rights it runs, and how it stops."""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING

from prixfixe.verify.cases import Case
from prixfixe.verify.dialogue.servers import NotOfferedError
from prixfixe.verify.dialogue.wire import ClosedError
from prixfixe.verify.groups import starting
from prixfixe.verify.groups.common import (
    ENVELOPE,
    deliver,
    expect,
    host_file,
    kept_of,
    letter,
    listening,
    need_image,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.verify.bench import Bench, Running
    from prixfixe.verify.targets.base import Launch

__all__ = ["cases", "hardened"]

STOP_SECONDS = 10.0
OTHER_USER = "123456:0"


def cases() -> Iterator[Case]:
    """Return the cases of the group."""
    rows = (
        (_greets, "It greets soon after its start.", "must", "target.start_within", "smoke"),
        (_hardened, "It takes mail with everything taken away.", "must", "image.readonly_rootfs", "full"),
        (_not_root, "The kernel says that its first process is not root.", "must", "image.user", "full"),
        (_stops, "It ends by itself in time when it is stopped.", "must", "image.stop_within", "full"),
        (_says_goodbye, "A client that waits is told when it stops.", "should", "RFC 5321 3.8", "full"),
        (_finishes, "A message under way at a stop is finished, or not acknowledged.", "must", "RFC 5321 6.1", "full"),
        (_starts_again, "It starts again after a stop.", "must", "image.stop_within", "full"),
        (_any_user, "It runs as any user of group 0.", "must", "image.any_user", "full"),
        (_no_network, "It starts without a network.", "must", "image.no_network", "full"),
        (_listens, "It listens on the promised ports and no other.", "must", "image.ports", "full"),
        (_no_growth, "A hundred connections leave no process behind.", "should", "CWE-772", "full"),
        (_lets_go, "A client that never finishes does not hold the stop.", "must", "image.stop_within", "full"),
    )  # fmt: skip
    for number, (check, title, severity, source, level) in enumerate((*rows, *starting.TABLE), 1):
        where = source if source.startswith(("RFC", "CWE")) else f"contract {source}"
        name, evidence = f"PF-RUN-{number:02}", "the container's state and its replies"
        yield Case(name, title, severity, where, evidence, check, level)


def hardened(bench: Bench) -> Launch:
    """Return a start with everything taken away that the contract says is not needed."""
    launch = bench.launch().having(security_opt=["no-new-privileges"], pids_limit=128)
    caps = bench.contract.get("image", "caps")
    if caps is not None:
        launch = launch.having(cap_drop=["ALL"], cap_add=list(caps))
    if bench.contract.get("image", "readonly_rootfs"):
        launch = launch.having(read_only=True, tmpfs={"/tmp": "size=4m,mode=1777"})  # noqa: S108
    return launch


@contextlib.contextmanager
def _own(bench: Bench, launch: Launch | None = None) -> Iterator[Running]:
    with bench.volume() as volume:
        start = launch or bench.launch()
        with bench.one(_on(start, volume)) as running:
            yield running


def _on(launch: Launch, volume: str) -> Launch:
    from dataclasses import replace

    return replace(launch, volume=volume)


def _take_one(bench: Bench, running: Running) -> None:
    with running.hello() as wire:
        answer = deliver(wire, letter(bench, "one"))
    expect(answer[:3] == b"250", f"a message is not taken: {answer!r}")


def _greets(bench: Bench) -> None:
    limit = bench.contract.get("target", "start_within", 30)
    if not bench.source.can_start:
        with bench.target.using("D").connect() as wire:
            expect(wire.reply()[:4] == b"220 ", "no greeting")
        return
    with _own(bench) as running:
        expect(running.machine.is_running(), "it has ended")
        bench.note("start", f"greeted within {limit} s")


def _hardened(bench: Bench) -> None:
    need_image(bench)
    if not (
        bench.contract.get("image", "readonly_rootfs") or "caps" in bench.contract.table("image")
    ):
        raise NotOfferedError(
            "the contract promises no hardening (image.readonly_rootfs, image.caps)"
        )
    with _own(bench, hardened(bench)) as running:
        _take_one(bench, running)


def _not_root(bench: Bench) -> None:
    need_image(bench)
    if bench.promised("image", "user") == "any":
        raise NotOfferedError("the contract lets it be any user (image.user)")
    with _own(bench) as running:
        status = host_file(running, "status")
    uids = re.findall(r"^Uid:\s+(.+)$", status, re.MULTILINE)[0].split()
    expect("0" not in uids, f"its user ids are {uids}")


def _stop_within(bench: Bench) -> float:
    return float(bench.contract.get("image", "stop_within", STOP_SECONDS))


def _stops(bench: Bench) -> None:
    limit = _stop_within(bench)
    with _own(bench) as running:
        _take_one(bench, running)
        start = time.monotonic()
        running.machine.signal(bench.contract.get("image", "stopsignal", "SIGTERM"))
        code = running.machine.wait(limit)
        bench.note("stop", f"ended after {time.monotonic() - start:.1f} s with {code}")
    wanted = bench.contract.get("image", "stop_code")
    expect(wanted is None or code == wanted, f"exit code {code}, not {wanted}")


def _lets_go(bench: Bench) -> None:
    limit = _stop_within(bench)
    with _own(bench) as running, running.hello() as wire:
        for line in ENVELOPE:
            wire.ask(line + b"\r\n")
        wire.send(b"Subject: never ends\r\n\r\n")
        running.machine.signal(bench.contract.get("image", "stopsignal", "SIGTERM"))
        running.machine.wait(limit)


def _says_goodbye(bench: Bench) -> None:
    with _own(bench) as running, running.hello() as wire:
        running.machine.signal("SIGTERM")
        said = wire.rest()
        expect(said[:3] == b"421", f"it said {said!r} before it closed")


def _finishes(bench: Bench) -> None:
    with _own(bench) as running:
        running.mailbox.messages()
        with running.hello() as wire:
            for line in ENVELOPE:
                wire.ask(line + b"\r\n")
            body = letter(bench, "last", 3000)
            wire.send(body[:1000])
            time.sleep(0.2)  # a server that ends at once is to be given the chance
            running.machine.signal("SIGTERM")
            answer = b""
            with contextlib.suppress(OSError, ClosedError):
                wire.send(body[1000:] + b".\r\n")
                answer = wire.reply()
        with contextlib.suppress(TimeoutError):
            running.machine.wait(_stop_within(bench))
        running.machine.signal("SIGKILL")
        running.machine.wait(10)
        running.machine.start_again()
        running.await_greeting()
        running.mailbox = bench.mailbox(running.machine)
        _check_last(running, body, is_acknowledged=answer[:1] == b"2")


def _check_last(running: Running, body: bytes, *, is_acknowledged: bool) -> None:
    def found() -> list[bytes]:
        return kept_of(running.mailbox.messages()).get("last", [])

    if is_acknowledged:
        until(found, 30, "the message that was acknowledged at the stop is there")
    expect(found() in ([], [body]), "the message is there, but not as it was sent")


def _starts_again(bench: Bench) -> None:
    with _own(bench) as running:
        running.machine.stop(_stop_within(bench))
        running.machine.start_again()
        running.await_greeting()
        _take_one(bench, running)


def _any_user(bench: Bench) -> None:
    need_image(bench)
    if not bench.promised("image", "any_user"):
        raise NotOfferedError("the contract does not promise it (image.any_user)")
    with _own(bench, hardened(bench).having(user=OTHER_USER)) as running:
        _take_one(bench, running)


def _no_network(bench: Bench) -> None:
    need_image(bench)
    if not bench.promised("image", "no_network"):
        raise NotOfferedError("the contract does not promise it (image.no_network)")
    launch = bench.launch().having(network_mode="none")
    is_checked = bool(bench.contract.get("health", "docker"))
    if is_checked:
        launch = launch.having(healthcheck={"interval": 500_000_000, "retries": 1})
    running = bench.begin(launch)
    try:
        until(lambda: _is_well(running, is_checked=is_checked), 90, "well without a network")
    finally:
        running.stop(9)


def _is_well(running: Running, *, is_checked: bool) -> bool:
    state = running.machine.facts()["State"]
    expect(state["Running"], f"it ended with {state['ExitCode']} without a network")
    return not is_checked or state["Health"]["Status"] == "healthy"


def _listens(bench: Bench) -> None:
    need_image(bench)
    wanted = set(bench.promised("image", "ports"))
    with _own(bench) as running:
        text = host_file(running, "net/tcp") + host_file(running, "net/tcp6")
    # The engine's own resolver listens on 127.0.0.11.
    ports = {port for address, port in listening(text) if address != "0B00007F"}
    expect(ports == wanted, f"it listens on {sorted(ports)}, not {sorted(wanted)}")


def _no_growth(bench: Bench) -> None:
    need_image(bench)
    with _own(bench) as running:
        _take_one(bench, running)
        before = len(running.machine.container.top()["Processes"])  # type: ignore[attr-defined]
        for _ in range(100):
            with running.hello() as wire:
                wire.note = None
        until(
            lambda: len(running.machine.container.top()["Processes"]) <= before + 8,  # type: ignore[attr-defined]
            30,
            f"about {before} processes again",
        )
