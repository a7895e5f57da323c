"""A container of the image under test: start it hardened, ask it, and read back its mail.

Ports are on 127.0.0.1, chosen by the engine, and looked up each time. The volume stays until
`discard`. Files of the image are read through its Python, because it has no shell.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from docker.errors import NotFound
from requests.exceptions import ConnectionError as NoAnswerError
from requests.exceptions import ReadTimeout
from testcontainers.core.container import DockerContainer

from prixfixe.verify.dialogue.wire import Wire
from tests.container import engine
from tests.container.mailbox import Kept, read_all
from tests.container.profile import MAIL, hardened
from tests.container.waiting import Greeting, eventually, published

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PYTHON", "Answer", "Box", "Ran", "moment"]

PYTHON = "/usr/bin/python3.13"
PRIXFIXE = "/usr/local/bin/prixfixe"
READY = "prixfixe ready "


class Ran(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    output: str


class Answer(NamedTuple):
    """HTTP's answer."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """What the body says."""
        return json.loads(self.body)


class Box:
    """One container.

    `volume` is a named volume to use, or "" for one of its own; None for none. Other options are
    docker-py's, over the hardened profile and the run's own network. `probe` sets the seconds between the engine's health
    checks, and makes one failure enough.
    """

    def __init__(
        self,
        image: str,
        environ: Mapping[str, str] | None = None,
        *,
        volume: str | None = "",
        probe: float | None = None,
        ports: tuple[int, ...] = (2525, 8025),
        command: list[str] | None = None,
        **relaxed: Any,
    ) -> None:
        tmpfs = relaxed.get("tmpfs") or {}
        self.volume = None if MAIL in tmpfs else volume
        self._has_own_volume = self.volume == ""
        if self._has_own_volume:
            self.volume = engine.new_name()
            engine.client().volumes.create(self.volume, labels=engine.labels())
        if probe is not None:
            relaxed["healthcheck"] = {"interval": int(probe * 1e9), "retries": 1}
        if not relaxed.keys() & {"network", "network_mode"}:
            relaxed["network"] = engine.network()
        options = hardened(**relaxed, labels=engine.labels())
        mounts = dict(options.pop("volumes", {}))
        if self.volume:
            mounts[self.volume] = {"bind": MAIL, "mode": "rw"}
        self._made = DockerContainer(
            image, env=dict(environ or {}), command=command, name=engine.new_name()
        )
        self._made.volumes.update(mounts)
        self._made.tmpfs.update(options.pop("tmpfs", {}))
        self._made.with_kwargs(**options)
        self._ports = ports
        if options.get("network_mode") != "none":
            self._made.ports.update({f"{port}/tcp": ("127.0.0.1", None) for port in ports})
        self.is_trouble_expected = False
        self.is_of_other_image = False  # whose records may be of another table
        self._is_removed = False

    # --- life

    def start(self, *, is_awaited: bool = True) -> Box:
        """Start, and wait for the greeting on the first port."""
        if is_awaited:
            self._made.waiting_for(Greeting(self._ports[0]))
        self._made.start()
        return self

    @property
    def container(self) -> Any:
        """The container as docker-py has it, looked at now."""
        wrapped = self._made.get_wrapped_container()
        wrapped.reload()
        return wrapped

    @property
    def is_started(self) -> bool:
        """Whether there is a container to look at, running or ended."""
        return self._made._container is not None and not self._is_removed

    def signal(self, name: str) -> None:
        """Send a signal to PID 1."""
        self._made.get_wrapped_container().kill(signal=name)

    def stop(self, grace: int = 10) -> int:
        """Stop as `docker stop` does, and return the exit code."""
        self._made.get_wrapped_container().stop(timeout=grace)
        return self.exit_code()

    def exit_code(self, seconds: float = 20.0) -> int:
        """Wait for the end and return the exit code."""
        try:
            return int(self._made.get_wrapped_container().wait(timeout=seconds)["StatusCode"])
        except (ReadTimeout, NoAnswerError):
            raise AssertionError(f"the container still runs after {seconds:g} s") from None

    def start_again(self) -> None:
        """Start the ended container once more and wait for its greeting."""
        self._made.get_wrapped_container().start()
        self.await_greeting()

    def await_greeting(self) -> None:
        """Wait until it greets."""
        Greeting(self._ports[0]).wait_until_ready(self._made)

    def remove(self) -> None:
        """Remove the container as `docker rm -f` does; its named volume stays."""
        if self.is_started:
            self._is_removed = True
            with contextlib.suppress(NotFound):
                self._made.get_wrapped_container().remove(force=True, v=True)
        self._made.get_docker_client().client.close()

    def discard(self) -> None:
        """Remove the container, and its volume if it made it."""
        self.remove()
        if self._has_own_volume:
            with contextlib.suppress(NotFound):
                engine.client().volumes.get(self.volume).remove(force=True)

    # --- what the engine says

    @property
    def state(self) -> dict[str, Any]:
        """The engine's record of the container's state."""
        return dict(self.container.attrs["State"])

    @property
    def health(self) -> dict[str, Any]:
        """The engine's record of its health checks."""
        return dict(self.state["Health"])

    def await_health(self, status: str, seconds: float = 40.0) -> None:
        """Wait until the engine calls it healthy or unhealthy."""
        eventually(lambda: self.health["Status"] == status, seconds, f"health {status!r}")

    def logs(self) -> str:
        """All it wrote."""
        return str(self._made.get_wrapped_container().logs().decode("utf-8", "replace"))

    def records(self) -> list[dict[str, Any]]:
        """Its log records, without the ready line."""
        lines = self.logs().splitlines()
        return [json.loads(line) for line in lines if not line.startswith(READY)]

    def logged(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for that many records of an event, and return them; the engine takes its time."""

        def found() -> list[dict[str, Any]]:
            records = [one for one in self.records() if one["event"] == event]
            return records if len(records) >= count else []

        return eventually(found, 30, f"{count} of {event!r} in the log")

    def stats(self) -> dict[str, Any]:
        """The engine's account of memory, processes and processor time."""
        return dict(self._made.get_wrapped_container().stats(stream=False, one_shot=True))

    # --- inside

    def run(self, *command: str, **options: Any) -> Ran:
        """Run a command in the container."""
        done = self._made.get_wrapped_container().exec_run(list(command), **options)
        return Ran(done.exit_code, done.output.decode("utf-8", "replace"))

    def prixfixe(self, *words: str, **options: Any) -> Ran:
        """Run the program."""
        return self.run(PRIXFIXE, *words, **options)

    def check(self) -> Ran:
        """Run the health check, with more patience than the image's own has."""
        return self.prixfixe("check", "--timeout", "30")

    def python(self, code: str, *words: str, **options: Any) -> str:
        """Run Python in the container and return what it printed; it must succeed."""
        ran = self.run(PYTHON, "-IBc", code, *words, **options)
        assert ran.code == 0, ran
        return ran.output

    def file(self, path: str) -> str:
        """Return a text file's content, such as /proc's."""
        return self.python("import sys; print(open(sys.argv[1]).read(), end='')", path)

    # --- from outside

    def address(self, port: int = 2525) -> tuple[str, int]:
        """Return where a port is on this machine."""
        return published(self.container, port)

    def connect(self, port: int = 2525) -> Wire:
        """Open a connection, nothing read yet."""
        return Wire(self.address(port))

    def greeted(self, port: int = 2525) -> Wire:
        """Open a connection and read the greeting, which must be one."""
        with contextlib.ExitStack() as stack:  # A server that dies now must leave no open socket.
            wire = stack.enter_context(self.connect(port))
            greeting = wire.reply()
            assert greeting.startswith(b"220 "), greeting
            stack.pop_all()
        return wire

    def hello(self, port: int = 2525) -> Wire:
        """Open a connection up to the answer to EHLO."""
        with contextlib.ExitStack() as stack:
            wire = stack.enter_context(self.greeted(port))
            assert wire.ask(b"EHLO client.test\r\n") == [250]
            stack.pop_all()
        return wire

    def http(
        self, path: str, method: str = "GET", *, seconds: float = 30.0, **headers: str
    ) -> Answer:
        """Ask HTTP, on a connection for this one question."""
        connection = http.client.HTTPConnection(*self.address(8025), timeout=seconds)
        with contextlib.closing(connection):
            return _ask(connection, method, path, headers)

    def counted(self, seconds: float = 30.0) -> dict[str, float]:
        """What it has counted, by series with its labels as it writes them."""
        lines = self.http("/metrics", seconds=seconds).body.decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line[0] != "#")
        return {name: float(value) for name, value in pairs}

    def messages(self) -> list[Kept]:
        """What it keeps, oldest first, read through the API on one connection."""
        connection = http.client.HTTPConnection(*self.address(8025), timeout=30)
        with contextlib.closing(connection):
            return read_all(lambda path: _ask(connection, "GET", path, {}))


def moment(text: str) -> dt.datetime:
    """Read a time as the engine or the log writes it."""
    return dt.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text))


def headers_of(answer: http.client.HTTPResponse) -> dict[str, str]:
    """Return the header fields, by names in lower case."""
    return {name.lower(): value for name, value in answer.getheaders()}


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, headers: Mapping[str, str]
) -> Answer:
    connection.request(method, path, headers=dict(headers))
    answer = connection.getresponse()
    return Answer(answer.status, answer.read(), headers_of(answer))
