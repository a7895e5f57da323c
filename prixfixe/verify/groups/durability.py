"""PF-DUR: what an acknowledgement is worth when the server is killed, stopped, or its disk is full.

A ledger has what was sent and what was acknowledged. After the fault each acknowledged message must
be there, once, byte for byte; what was not acknowledged may be there whole or not at all.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prixfixe.verify.cases import Case
from prixfixe.verify.dialogue.outcomes import CaseError
from prixfixe.verify.dialogue.servers import NotOfferedError, UnseenError
from prixfixe.verify.dialogue.wire import ClosedError
from prixfixe.verify.groups.common import ENVELOPE, deliver, expect, kept_of, letter, until
from prixfixe.verify.interrupts import pause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.verify.bench import Bench, Running
    from prixfixe.verify.dialogue.wire import Wire

__all__ = ["Ledger", "cases", "filled", "small_disk"]

SECONDS = 40.0  # for all that was acknowledged to be delivered after a start
ENOUGH = 400  # messages; a stream ends by the fault, not by this
SENDERS = 3
ENDS = {
    "empty lines": b"\r\n\r\n",
    "blanks": b" \r\n\t\r\n",
    "a long line": b"x" * 998 + b"\r\n",
    "blanks in a line": b"a  b\t \tc \r\n",
}


@dataclass
class Ledger:
    """What was sent and what was acknowledged."""

    sent: dict[str, bytes] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    refused: list[bytes] = field(default_factory=list)

    def faults(self, kept: dict[str, list[bytes]], wanted: set[str] | None = None) -> list[str]:
        """Return what is wrong with what is kept."""
        wrong = []
        for name in sorted(self.acknowledged if wanted is None else wanted):
            copies = len(kept.get(name, ()))
            if copies != 1:
                wrong.append(f"{name} was acknowledged and is there {copies} times")
        for name, bodies in kept.items():
            body = self.sent.get(name)
            wrong += [
                f"{name} differs: {_difference(body, one)}"
                for one in bodies
                if body is not None and one != body
            ]
        return wrong


def _difference(sent: bytes, kept: bytes) -> str:
    same = next(
        (n for n, pair in enumerate(zip(sent, kept, strict=False)) if len(set(pair)) > 1), -1
    )
    at = same if same >= 0 else min(len(sent), len(kept))
    around = slice(max(at - 10, 0), at + 20)
    return f"{len(sent)} bytes sent, {len(kept)} kept; at {at} {sent[around]!r} became {kept[around]!r}"


def cases() -> Iterator[Case]:
    """Return the cases of the group."""
    rows = (
        (_killed, "Mail that was acknowledged outlives SIGKILL in the middle of a stream."),
        (_stopped, "Mail that was acknowledged outlives a stop in the middle of a stream."),
        (_restarted, "All mail is there after a stop and a start."),
        (_recreated, "All mail is there when the server is made again on the volume."),
        (_half, "A message whose end never came is not there."),
        (_full, "A full disk is answered by a refusal, and what was acknowledged stays."),
        (_killed_at_ack, "The message acknowledged last before SIGKILL is there."),
        (_exclusive, "A second server on the volume of one that runs does not serve."),
        (_whole, "All of a message is kept: empty lines and blanks at its end, and long lines."),
    )
    for number, (check, title) in enumerate(rows, 1):
        evidence = "a ledger against what is read back, byte for byte"
        yield Case(
            f"PF-DUR-{number:02}", title, "must", "contract promise.ack", evidence, check, "full"
        )


def _promise(bench: Bench) -> None:
    if bench.promised("promise", "ack") == "none":
        raise NotOfferedError("the contract promises nothing of an acknowledgement (promise.ack)")


@contextlib.contextmanager
def _server(bench: Bench) -> Iterator[tuple[Running, str]]:
    """Yield a server on a new volume whose mail can be read back."""
    _promise(bench)
    if not bench.source.can_start:
        raise UnseenError("this target cannot be stopped")
    with bench.volume() as volume, bench.one(bench.launch(volume=volume)) as running:
        running.mailbox.messages()
        running.clear()
        yield running, volume


# --- streams


def _stream(bench: Bench, running: Running, ledger: Ledger, name: str, size: int = 2000) -> None:
    """Send letters one after the other until the server goes away."""
    with contextlib.suppress(OSError, ClosedError, CaseError), running.hello() as wire:
        wire.note = None
        for number in range(ENOUGH):
            key = f"{name}-{number}"
            body = ledger.sent[key] = letter(bench, key, size)
            answer = deliver(wire, body)
            if answer[:1] != b"2":
                ledger.refused.append(answer)
                return
            ledger.acknowledged.add(key)


@contextlib.contextmanager
def _streams(bench: Bench, running: Running, ledger: Ledger, name: str) -> Iterator[None]:
    threads = [
        threading.Thread(target=_stream, args=(bench, running, ledger, f"{name}{one}"))
        for one in range(SENDERS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(60)


def _await(ledger: Ledger, count: int) -> None:
    until(lambda: len(ledger.acknowledged) >= count, 30, f"{count} messages acknowledged")


def _settle(running: Running, ledger: Ledger) -> None:
    """Wait until all that was acknowledged is there, and look for what is wrong."""
    end = time.monotonic() + SECONDS
    while True:
        kept = kept_of(running.mailbox.messages())
        missing = ledger.acknowledged - kept.keys()
        if not missing or time.monotonic() > end:
            break
        pause(0.2)
    if missing == ledger.acknowledged and not kept and running.mailbox.outlives is False:
        _check_readable(running)
    wrong = ledger.faults(kept)
    running.bench.note("ledger", f"{len(ledger.acknowledged)} acknowledged, {len(kept)} kept")
    expect(not wrong, f"{len(wrong)} faults: {'; '.join(wrong[:3])}")


def _check_readable(running: Running) -> None:
    running.mailbox.messages()  # the error, where the API does not answer


def _again(running: Running) -> None:
    running.mailbox.close()
    running.machine.start_again()
    running.await_greeting()
    running.mailbox = running.bench.mailbox(running.machine)


def _ended(running: Running, name: str) -> None:
    running.machine.signal(name)
    try:
        running.machine.wait(40)
    except TimeoutError:
        running.machine.signal("SIGKILL")
        running.machine.wait(10)


def _in_a_stream(bench: Bench, signal: str) -> None:
    with _server(bench) as (running, _):
        ledger = Ledger()
        for number in range(bench.rounds * (5 if bench.is_crash else 1)):
            before = len(ledger.acknowledged)
            with _streams(bench, running, ledger, f"r{number}s"):
                _await(ledger, before + bench.random.randrange(5, 60))
                _ended(running, signal)
            _again(running)
        _settle(running, ledger)


def _killed(bench: Bench) -> None:
    _in_a_stream(bench, "SIGKILL")


def _stopped(bench: Bench) -> None:
    _in_a_stream(bench, "SIGTERM")


def _some(bench: Bench, running: Running, count: int = 12) -> Ledger:
    ledger = Ledger()
    with running.hello() as wire:
        for number in range(count):
            key = f"m{number}"
            body = ledger.sent[key] = letter(bench, key, bench.random.choice((10, 3000, 70000)))
            answer = deliver(wire, body)
            expect(answer[:1] == b"2", f"a message is not taken: {answer!r}")
            ledger.acknowledged.add(key)
    return ledger


def _restarted(bench: Bench) -> None:
    with _server(bench) as (running, _):
        ledger = _some(bench, running)
        _ended(running, "SIGTERM")
        _again(running)
        _settle(running, ledger)


def _recreated(bench: Bench) -> None:
    if not bench.contract.get("target", "volume") and bench.source.has_image:
        raise NotOfferedError("the contract names no volume (target.volume)")
    with _server(bench) as (running, volume):
        ledger = _some(bench, running)
        _settle(running, ledger)  # what waits in a queue elsewhere is no matter of the volume
        running.stop(9)
        with bench.one(bench.launch(volume=volume)) as other:
            _settle(other, ledger)


def _half(bench: Bench) -> None:
    with _server(bench) as (running, _):
        ledger = _some(bench, running, 2)
        body = letter(bench, "half", 40000)
        with running.hello() as wire:
            wire.ask(b"MAIL FROM:<a@x.test>\r\n")
            wire.ask(b"RCPT TO:<b@y.test>\r\n")
            wire.ask(b"DATA\r\n")
            wire.send(body[: len(body) // 2])
            with running.hello():  # its first half was read by now
                _ended(running, "SIGKILL")
        _again(running)
        _settle(running, ledger)
        expect("half" not in kept_of(running.mailbox.messages()), "half a message is there")


def _full(bench: Bench) -> None:
    size = bench.promised("promise", "full_disk")
    path = bench.promised("target", "volume")
    _promise(bench)
    if not bench.source.has_image:
        raise UnseenError("only a container can be given a small disk")
    with bench.one(
        bench.launch(["small-disk"]).having(tmpfs={path: small_disk(bench, size)})
    ) as running:
        running.mailbox.messages()
        ledger = Ledger()
        until(lambda: filled(bench, running, ledger), 90, "a refusal, with a full disk")
        answer = ledger.refused[-1]
        expect(answer[:1] == b"4", f"a full disk is answered by {answer!r}, not for a time")
        with running.hello() as wire:
            expect(wire.ask(b"NOOP\r\n") == [250], "it does not go on with a full disk")
        _settle(running, ledger)


def small_disk(bench: Bench, size: str) -> str:
    """Return the options of a small disk in memory that the image's user may write."""
    user = str(bench.source.config.get("User") or "0")  # type: ignore[attr-defined] # of an image
    uid, _, gid = user.partition(":")
    if not uid.isdigit():
        return f"size={size},mode=1777"
    return f"size={size},uid={uid},gid={gid if gid.isdigit() else uid},mode=0770"


def filled(bench: Bench, running: Running, ledger: Ledger) -> bool:
    """Send large letters until one is refused, then small ones; return whether one was."""
    with running.hello() as wire:
        wire.note = None
        return all(_is_refused(bench, wire, ledger, size) for size in (60000, 600))


def _is_refused(bench: Bench, wire: Wire, ledger: Ledger, size: int) -> bool:
    for _ in range(ENOUGH):
        key = f"f{len(ledger.sent)}"
        body = ledger.sent[key] = letter(bench, key, size)
        answer = _answer(wire, body)
        if answer[:1] != b"2":
            ledger.refused.append(answer)
            wire.ask(b"RSET\r\n")
            return True
        ledger.acknowledged.add(key)
    return False


def _answer(wire: Wire, body: bytes) -> bytes:
    for line in ENVELOPE:
        wire.send(line + b"\r\n")
        answer = wire.reply()
        if answer[:1] not in (b"2", b"3"):
            return answer
    wire.send(body + b".\r\n")
    return wire.reply()


def _killed_at_ack(bench: Bench) -> None:
    with _server(bench) as (running, _):
        ledger = Ledger()
        for number in range(bench.rounds * (5 if bench.is_crash else 1)):
            with running.hello() as wire:
                key = f"last{number}"
                body = ledger.sent[key] = letter(bench, key, 5000)
                answer = deliver(wire, body)
                running.machine.signal("SIGKILL")
                expect(answer[:1] == b"2", f"a message is not taken: {answer!r}")
                ledger.acknowledged.add(key)
            running.machine.wait(10)
            _again(running)
        _settle(running, ledger)


def _whole(bench: Bench) -> None:
    _promise(bench)
    running: Any = bench.target.using("D")
    running.mailbox.messages()
    ledger = Ledger()
    with running.hello() as wire:
        for name, end in ENDS.items():
            body = ledger.sent[name] = letter(bench, name, 100) + end
            answer = deliver(wire, body)
            expect(answer[:1] == b"2", f"a message is not taken: {answer!r}")
            ledger.acknowledged.add(name)
    _settle(running, ledger)


def _exclusive(bench: Bench) -> None:
    if not bench.promised("promise", "exclusive"):
        raise NotOfferedError("the contract does not promise it (promise.exclusive)")
    with _server(bench) as (running, volume):
        ledger = _some(bench, running, 2)
        other = bench.begin(bench.launch(volume=volume))
        try:
            greeting = other.await_greeting()
        except CaseError as error:
            bench.note("second server", str(error))
        else:
            expect(False, f"a second server greets after {greeting:.1f} s")
        finally:
            other.stop(9)
        _settle(running, ledger)
