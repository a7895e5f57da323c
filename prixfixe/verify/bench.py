"""What a case is given: servers of the target, their mailboxes, and a place for evidence."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import ssl
import tempfile
import time
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from prixfixe.verify.dialogue.outcomes import CaseError
from prixfixe.verify.dialogue.script import CONFIGURATIONS
from prixfixe.verify.dialogue.servers import NotOfferedError, Server, Stored, Target, UnseenError
from prixfixe.verify.dialogue.wire import ClosedError, Wire
from prixfixe.verify.evidence import Evidence
from prixfixe.verify.interrupts import pause
from prixfixe.verify.readback.base import Nothing, Place
from prixfixe.verify.readback.delivered import PREFACE
from prixfixe.verify.readback.kinds import adapters
from prixfixe.verify.readback.web import Web
from prixfixe.verify.targets.base import EnvironmentFault, Launch, cannot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prixfixe.verify.contract import Contract
    from prixfixe.verify.readback.base import Readback
    from prixfixe.verify.targets.base import Machine, Source

__all__ = ["Bench", "Running"]

DEADLINE = 20.0  # seconds for an answer, since machines are busy; a case that fails waits for it
START_SECONDS = 60.0
POLL_SECONDS = 0.05
TRANSCRIPT = 60  # moves of a case that are told
PROBED = ("mailpit", "maildev")  # adapters that `auto` tries


class Running(Server):
    """One server of the target, with its mailbox."""

    deadline = DEADLINE
    patience = 3.0

    def __init__(self, bench: Bench, machine: Machine) -> None:
        self.bench, self.machine = bench, machine
        self.smtp_port = int(bench.contract.get("target", "smtp_port", 25))
        self.mailbox: Readback = Nothing(Place(machine, None, {}))
        self._canaries = 0

    # --- where it is

    def locate(self) -> None:
        """Ask where its ports are; they may change with a restart."""
        self.host, self.port = self.machine.address(self.smtp_port)
        port = self.bench.contract.get("target", "smtps_port")
        with contextlib.suppress(OSError):
            self.tls_port = self.machine.address(int(port))[1] if port else None

    def await_greeting(self, seconds: float | None = None) -> float:
        """Wait for the greeting and return how many seconds that took.

        Raises:
            CaseError: it ended, or does not greet in time.

        """
        limit = seconds or float(self.bench.contract.get("target", "start_within", START_SECONDS))
        start = time.monotonic()
        said = "nothing"
        while time.monotonic() - start < limit:
            if not self.machine.is_running():
                raise CaseError(f"the server ended at its start; it wrote: {self._last_words()}")
            try:
                self.locate()
                with Wire((self.host, self.port), "", min(5.0, limit)) as wire:
                    said = wire.reply().decode("latin-1").strip()
                    if said.startswith("220"):
                        wire.ask(b"QUIT\r\n")
                        return time.monotonic() - start
            except (OSError, ClosedError, ValueError) as error:
                said = repr(error)
            pause(POLL_SECONDS)
        raise CaseError(f"no greeting within {limit:g} s, but {said}: {self._last_words()}")

    def _last_words(self) -> str:
        try:
            return self.machine.logs()[-600:].strip() or "nothing"
        except UnseenError:
            return "what it wrote cannot be seen"

    # --- what the cases ask

    def connect(self, port: int | None = None, window: int = 0) -> Wire:
        source = self.source if self.host.startswith("127.") else ""
        wire = Wire((self.host, port or self.port), source, self.deadline, window)
        wire.takes_batches = self.bench.protocol("pipelining")
        wire.preface = b"" if self.bench.protocol("headerless") else PREFACE
        wire.note = self.bench.heard
        return wire

    def clear(self) -> None:
        with contextlib.suppress(UnseenError):
            self.mailbox.clear()

    def messages(self) -> list[Stored]:
        return [one for one in self.mailbox.messages() if b"canary" not in one.sender.encode()]

    def settled(
        self, is_enough: Callable[[list[Stored]], bool], seconds: float | None = None
    ) -> list[Stored]:
        self.mailbox.messages()  # the error, where nothing can be read
        if not self.mailbox.is_at_once:
            self._await_canary()
        return super().settled(is_enough, seconds)

    def _await_canary(self) -> None:
        """Send a message and wait until it was delivered: what came before it was so too."""
        self._canaries += 1
        sender = b"canary%d@x.test" % self._canaries
        with contextlib.suppress(OSError, ClosedError), self.greeted() as wire:
            wire.note = None
            lines = (b"EHLO c.test", b"MAIL FROM:<" + sender + b">", b"RCPT TO:<b@y.test>", b"DATA")
            codes = [wire.ask(line + b"\r\n")[0] for line in lines]
            if codes[-1] != 354 or wire.ask(PREFACE + b"canary\r\n.\r\n") != [250]:
                pause(0.5)  # it takes none now; others may still be on their way
                return
            until = time.monotonic() + DEADLINE
            while time.monotonic() < until:
                if any(one.sender.encode() == sender for one in self.mailbox.messages()):
                    return
                pause(POLL_SECONDS)

    def logs(self) -> str:
        return self.machine.logs()

    def runs(self, verb: str) -> int:
        name = self.bench.contract.get("health", "commands")
        if not name or not self.bench.contract.get("health", "metrics"):
            return super().runs(verb)
        return int(self.metric(str(name).replace("{verb}", verb)))

    def metric(self, name: str) -> float:
        """Return the sum of the series of a name in metrics, in which * is any text.

        Raises:
            UnseenError: metrics do not answer.

        """
        port, _, path = str(self.bench.promised("health", "metrics"))[5:].partition("/")
        with contextlib.closing(Web(Place(self.machine, int(port), {}))) as web:
            rows = web.get(f"/{path}").decode().splitlines()
        return sum(float(row.rsplit(" ", 1)[1]) for row in rows if fnmatchcase(row, f"{name} *"))

    @contextlib.contextmanager
    def growth(self) -> Iterator[Callable[[], int]]:
        before = self.machine.memory()
        yield lambda: self.machine.memory() - before

    def stop(self, number: int = 15) -> int:
        self.mailbox.close()
        if number == 9:
            self.machine.remove()
            return 137
        return self.machine.stop(30)


class _Configured(Target):
    """The target's servers, one for each configuration of the cases."""

    knows_order = True

    def __init__(self, bench: Bench, folder: Path) -> None:
        super().__init__(folder)
        self.bench = bench
        self.is_strict = bench.protocol("strict", default=False)
        self.takes_batches = bench.protocol("pipelining")
        self.is_direct = bench.source.is_direct

    def begin(self) -> None:
        super().begin()
        if self.bench.source.can_start and not self._is_loopback() and self.bench.has_failed_login:
            # All logins come from one address, and a server may count those that fail.
            self.bench.has_failed_login = False
            for config in [one for one in self._servers if set(one) & set("ASK")]:
                self._servers.pop(config).stop(9)

    def _is_loopback(self) -> bool:
        return any(one.host.startswith("127.") for one in self._servers.values())

    def start(self, config: str) -> Server:
        names = [CONFIGURATIONS[letter] for letter in config]
        if not self.bench.can_be(names):
            alias = self._alias(config)
            if alias is None:
                raise NotOfferedError(f"the contract has no configuration {' and '.join(names)}")
            return alias
        running = self.bench.start(names)
        self.knows_order = running.mailbox.knows_order
        return running

    def _alias(self, config: str) -> Server | None:
        """Return the server as it is where that may be what the case asks."""
        default = self.using("D")
        offered = config == "T" and "STARTTLS" in default.keywords()
        return default if config in ("U", "C") or offered else None

    @contextlib.contextmanager
    def fresh(self, config: str) -> Iterator[Server]:
        if not self.bench.source.can_start:
            raise cannot("a server of its own for one case")
        server = self.start("D" if config == "C" else config)
        try:
            yield server
        finally:
            server.stop(9)

    def trust(self) -> ssl.SSLContext:
        if self.bench.has_own_certificate:
            return super().trust()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


class Bench:
    """A target under a contract.

    `random` is seeded anew for each case, so that two runs with one seed do the same.
    """

    def __init__(
        self, source: Source, contract: Contract, *, seed: int = 1, rounds: int = 2
    ) -> None:
        self.source, self.contract = source, contract
        self.seed, self.rounds = seed, rounds
        self.is_full, self.is_crash = True, False
        self.random = random.Random(seed)
        self.evidence: list[Evidence] = []
        self._moves: list[str] = []
        self.has_failed_login = False
        self.folder = Path(tempfile.mkdtemp(prefix="prixfixe-verify-"))
        self.folder.chmod(0o755)
        self._started: list[Running] = []
        self._above: Bench | None = None
        self._kind = ""
        self._made: dict[str, Any] = {}
        self.target = _Configured(self, self.folder)

    def another(self) -> Bench:
        """Return a bench with servers of its own; closing it leaves the source."""
        bench = Bench(self.source, self.contract, seed=self.seed, rounds=self.rounds)
        bench.is_full, bench.is_crash = self.is_full, self.is_crash
        bench._above, bench._kind = self, self._kind
        return bench

    # --- the contract

    def protocol(self, name: str, *, default: bool = True) -> bool:
        """Return a truth of the table `protocol`."""
        return bool(self.contract.get("protocol", name, default))

    def promised(self, table: str, name: str) -> Any:  # noqa: ANN401 - TOML's types
        """Return what is promised.

        Raises:
            NotOfferedError: nothing is.

        """
        found = self.contract.get(table, name)
        if found is None:
            raise NotOfferedError(f"the contract does not promise {table}.{name}")
        return found

    def can_be(self, names: list[str]) -> bool:
        """Whether the target can be had in these configurations."""
        known = {"default", *self.contract.table("configurations")}
        if names == ["default"]:
            return True
        return self.source.can_start and set(names) <= known

    @property
    def has_own_certificate(self) -> bool:
        """Whether servers are given the certificate that is made here."""
        return self.source.can_start and bool(self.contract.table("configurations"))

    # --- servers

    def launch(
        self,
        names: list[str] | None = None,
        volume: str = "",
        also: Mapping[str, str] = MappingProxyType({}),
    ) -> Launch:
        """Return how a server of these configurations is started, `also` with these variables."""
        tables = [self.contract.table("target")]
        tables += [self.contract.table("configurations").get(one, {}) for one in names or ()]
        env: dict[str, str] = {}
        args: list[str] = []
        for table in tables:
            env |= table.get("env", {})
            args = table.get("args", args)
        env |= also
        smtps = str(self.contract.get("target", "smtps_port", ""))
        if self.source.has_image:
            env = {name: value.replace("{smtps_port}", smtps) for name, value in env.items()}
        files = self._files() if self.has_own_certificate else None
        return Launch(env, tuple(args), files, volume)

    def _files(self) -> Path:
        certificate, key = self.target.certificate
        for path in (certificate, key):
            path.chmod(0o644)
        for name, content in self.contract.get("target", "contents", {}).items():
            path = self.folder / name
            path.write_text(content, encoding="utf-8")
            path.chmod(0o644)
        return self.folder

    def start(self, names: list[str] | None = None, launch: Launch | None = None) -> Running:
        """Start a server, wait for its greeting, and find its mailbox."""
        running = self.begin(launch or self.launch(names, self._volume()))
        running.await_greeting()
        running.mailbox = self.mailbox(running.machine)
        return running

    def _volume(self) -> str:
        """Return a volume for a server that is used by many cases, gone with the source."""
        has_one = self.source.has_image and bool(self.contract.get("target", "volume"))
        return self.source.new_volume() if has_one else ""

    def begin(self, launch: Launch) -> Running:
        """Start a server and do not wait for it."""
        running = Running(self, self.source.launch(launch))
        self._started.append(running)
        return running

    @contextlib.contextmanager
    def one(self, launch: Launch | None = None) -> Iterator[Running]:
        """Yield a server of its own, gone at the end.

        Raises:
            UnseenError: the target is one server, which is not ours to stop.

        """
        if not self.source.can_start:
            raise cannot("a server of its own for one case")
        running = self.start(launch=launch)
        try:
            yield running
        except BaseException:
            self._tell_state(running)
            raise
        finally:
            running.stop(9)

    def _tell_state(self, running: Running) -> None:
        with contextlib.suppress(UnseenError, OSError):
            state = running.machine.facts()["State"]
            self.note("container", "\n".join(f"{name}: {state[name]}" for name in sorted(state)))
        with contextlib.suppress(UnseenError, OSError):
            self.note("log", running.machine.logs()[-3000:])

    @contextlib.contextmanager
    def volume(self) -> Iterator[str]:
        """Yield a new volume, removed at the end."""
        name = self.source.new_volume()
        try:
            yield name
        finally:
            self.source.drop_volume(name)

    def mailbox(self, machine: Machine) -> Readback:
        """Return the adapter for one server."""
        options = dict(self.contract.table("readback"))
        port = self.contract.get("target", "http_port")
        place = Place(machine, port, options)
        known = adapters()
        kind = self._kind or str(options.get("kind", "none"))
        if kind == "auto":
            kind = self._kind = self._found(place)
            if self._above is not None:
                self._above._kind = kind  # noqa: SLF001 - what is asked of it is told there
        if kind not in known:
            msg = f"readback.kind {kind!r}: expected one of auto, {', '.join(sorted(known))}"
            raise EnvironmentFault(msg)
        return known[kind](place)

    def _found(self, place: Place) -> str:
        """Return the first adapter whose API answers."""
        if place.http_port is None:
            return "none"
        until = time.monotonic() + 5
        while time.monotonic() < until:
            for kind in PROBED:
                adapter: Any = adapters()[kind](place)
                with contextlib.suppress(UnseenError), contextlib.closing(adapter):
                    if adapter.probe():
                        return kind
            pause(POLL_SECONDS)
        return "none"

    @property
    def readback(self) -> str:
        """The kind of the adapter."""
        return self._kind or str(self.contract.get("readback", "kind", "none"))

    def once(self, name: str, make: Callable[[], Any]) -> Any:  # noqa: ANN401 - what is made
        """Return what was made under this name, made when it is first asked for."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    @property
    def reads_at_once(self) -> bool:
        """Whether what was acknowledged can be read at once."""
        return all(one.mailbox.is_at_once for one in self._started)

    # --- evidence

    def begin_case(self, name: str) -> None:
        """Forget the evidence of the case before, and seed."""
        self.random = random.Random(f"{self.seed} {name}")
        self.evidence = []
        self._moves = []

    def heard(self, mark: str, octets: bytes) -> None:
        """Note a move of the conversation."""
        self.has_failed_login |= mark == "S" and octets[:3] == b"535"
        text = repr(octets)[2:-1]
        text = text if len(text) < 200 else f"{text[:120]}… ({len(octets)} bytes)"
        self._moves.append(f"{mark}: {text}")
        if len(self._moves) > TRANSCRIPT:
            del self._moves[: TRANSCRIPT // 2]

    def note(self, kind: str, text: str) -> None:
        """Keep something seen as evidence."""
        self.evidence.append(Evidence(kind, text))

    def told(self) -> list[Evidence]:
        """Return the evidence of a case that was not passed."""
        moves = re.sub(r"\\r\\n$", "", "\n".join(self._moves), flags=re.MULTILINE)
        return [*([Evidence("transcript", moves)] if moves else []), *self.evidence]

    def close(self) -> None:
        """End what was started; unless this is `another`, the source too."""
        try:
            self._end()
        finally:  # an interrupt ends the waiting for servers, which are gone then
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self) -> None:
        for running in self._started:
            with contextlib.suppress(Exception):  # the source removes what is left
                running.mailbox.close()
        if self._above is None:
            self.source.close()
        elif not self.source.is_kept:
            self.target.close()
