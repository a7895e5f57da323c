"""A PostgreSQL cluster of three on this machine: a primary and two synchronous standbys.

It is made from Debian's binaries as another user, because initdb refuses root. Everything is in
one folder, on ports of the loopback that were free.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Cluster", "Node", "binaries", "require_binaries", "running", "why_missing"]

# `wal_keep_size` has room for the mail that comes while a standby is away.
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
wal_sender_timeout = 10s
wal_receiver_timeout = 10s
wal_retrieve_retry_interval = 100ms
shared_buffers = 32MB
log_min_messages = fatal
autovacuum = off
wal_keep_size = 512MB
max_wal_size = 128MB
synchronous_standby_names = 'ANY 1 (n0, n1, n2)'
"""
ACCESS = (
    "host all postgres 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"
    "host all all 127.0.0.1/32 scram-sha-256\n"
)
START_SECONDS = 30.0
FOLLOW_SECONDS = 2.0


def binaries() -> Path | None:
    """Return the folder of the newest server's programs, or None."""
    named = os.environ.get("PRIXFIXE_POSTGRESQL_BIN")
    if named:
        return Path(named)
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    return folders[-1].parent if folders else None


def _version(initdb: Path) -> float:
    with contextlib.suppress(ValueError):
        return float(initdb.parents[1].name)
    return 0.0


def why_missing() -> str:
    """Return why no cluster can be made here, or ""."""
    if binaries() is None:
        return "no PostgreSQL in /usr/lib/postgresql (Debian: postgresql)"
    if os.geteuid() == 0 and _user() is None:
        return "initdb refuses root, and there is no user postgres"
    return ""


def require_binaries() -> Path:
    """Return the folder; skip, or fail in CI, where there is none or no user to run it."""
    folder, why = binaries(), why_missing()
    if why or folder is None:
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return folder


def _user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Node:
    """One server of the cluster."""

    name: str
    folder: Path
    port: int
    bin: Path
    process: subprocess.Popen[bytes] | None = None
    frozen: list[int] = field(default_factory=list)
    way: int = 0  # the port by which other nodes reach it, if it is not its own

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [self.bin / "postgres", "-D", self.folder, "-p", str(self.port)]
        with (self.folder.parent / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen([*_as_user(), *command], stdout=log, stderr=log)
        until = time.monotonic() + START_SECONDS
        ready = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready).returncode != 0:
            assert self.process.poll() is None, f"{self.name} did not start"
            assert time.monotonic() < until, f"{self.name} does not answer"
            time.sleep(0.02)

    def pids(self) -> list[int]:
        """Return the processes, the postmaster first."""
        if self.process is None:
            return []
        main = self.process.pid
        children = Path(f"/proc/{main}/task/{main}/children")
        with contextlib.suppress(OSError):
            return [main, *map(int, children.read_text().split())]
        return []

    def kill(self) -> None:
        """End it as a power cut would."""
        self._signal(signal.SIGKILL)
        self._reap()

    def freeze(self) -> None:
        """Stop it where it is."""
        self.frozen = self.pids()
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        for pid in self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.frozen = []

    def stop(self) -> None:
        """Stop it cleanly, without waiting for clients."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGINT)
        self._reap()

    def _signal(self, number: int) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _reap(self) -> None:
        if self.process is not None:
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)
        self.process = None
        self.frozen = []


class Cluster:
    """Three nodes; `primary` is whoever was promoted last."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        self.folder = folder
        self.bin = bin_folder
        self.nodes = [
            Node(f"n{number}", folder / f"n{number}", _free_port(), bin_folder)
            for number in range(3)
        ]
        self.primary = self.nodes[0]
        self._spare: list[str] = []

    # --- making it

    def make(self) -> None:
        """Make and start all three."""
        first = self.nodes[0]
        self._do("initdb", "-D", first.folder, "-N", "-U", "postgres", "--auth=trust", "-E", "UTF8")
        self._write(first.folder / "postgresql.auto.conf", SETTINGS + "cluster_name = 'n0'\n")
        self._write(first.folder / "pg_hba.conf", ACCESS)
        first.start()
        for node in self.nodes[1:]:
            self.copy(node)
        self.wait_for_standbys(2)

    def copy(self, node: Node) -> None:
        """Make a node a standby of the primary, from nothing, and start it."""
        shutil.rmtree(node.folder, ignore_errors=True)
        source = self._source(node)
        self._do("pg_basebackup", "-D", node.folder, "-d", source, "-R", "-c", "fast", "-N")
        self.follow(node, is_running=False)
        node.start()

    def follow(self, node: Node, *, is_running: bool = True) -> None:
        """Point a standby at the primary."""
        source = self._source(node)
        lines = f"{SETTINGS}cluster_name = '{node.name}'\nprimary_conninfo = '{source}'\n"
        self._write(node.folder / "postgresql.auto.conf", lines)
        if is_running:
            self.reload(node)

    def _source(self, node: Node) -> str:
        at = self.primary.way or self.primary.port
        return f"host=127.0.0.1 port={at} user=postgres application_name={node.name}"

    def reload(self, node: Node) -> None:
        """Have a node read its configuration again."""
        assert node.process is not None
        os.kill(node.process.pid, signal.SIGHUP)

    def set(self, node: Node, *lines: str) -> None:
        """Add lines to a node's configuration and have it read."""
        path = node.folder / "postgresql.auto.conf"
        self._write(path, path.read_text() + "".join(f"{line}\n" for line in lines))
        self.reload(node)

    def promote(self, node: Node | None = None) -> Node:
        """Make the most advanced standby, or this one, the primary; the others follow it."""
        running = [one for one in self.nodes if one is not self.primary and self._is_up(one)]
        chosen = node or max(running, key=self.received)
        self._do("pg_ctl", "promote", "-D", chosen.folder, "-w", "-s")
        self.primary = chosen
        for other in running:
            if other is not chosen:
                self.follow(other)
        return chosen

    def rejoin(self, node: Node) -> None:
        """End a node that was the primary, and make it a standby."""
        node.thaw()
        node.kill()
        self.copy(node)

    def heal(self) -> None:
        """Bring all three back, whatever was done to them."""
        for node in self.nodes:
            node.thaw()
            node.way = 0
        for node in self.nodes:
            if node is self.primary:
                if not self._is_up(node):
                    node.kill()
                    node.start()
                self.follow_nobody(node)
        for node in self.nodes:
            if node is not self.primary and not self._follows(node):
                self.rejoin(node)
        self.wait_for_standbys(2)

    def follow_nobody(self, node: Node) -> None:
        """Give the primary its configuration back."""
        lines = f"{SETTINGS}cluster_name = '{node.name}'\n"
        if (node.folder / "postgresql.auto.conf").read_text() != lines:
            self._write(node.folder / "postgresql.auto.conf", lines)
            self.reload(node)

    def _follows(self, node: Node) -> bool:
        """Whether a node follows the primary, or does so soon."""
        if node.process is None and (node.folder / "standby.signal").exists():
            node.start()
        if not self._is_up(node) or self.ask("SELECT pg_is_in_recovery()", node=node) != ["t"]:
            return False
        until = time.monotonic() + FOLLOW_SECONDS
        while time.monotonic() < until:
            source = self.ask(
                "SELECT conninfo FROM pg_stat_wal_receiver WHERE status = 'streaming'", node=node
            )
            at = self.primary.way or self.primary.port
            if source and f"port={at} " in source[0]:
                return True
            time.sleep(0.05)
        return False

    def _is_up(self, node: Node) -> bool:
        return node.process is not None and node.process.poll() is None and not node.frozen

    # --- asking it

    def ask(self, *sql: str, node: Node | None = None, database: str = "postgres") -> list[str]:
        """Return the rows of statements, as text."""
        at = node or self.primary
        command = ["psql", "-XAtq", "-h", "127.0.0.1", "-p", str(at.port)]
        command += ["-U", "postgres", "-d", database]
        command += [word for each in sql for word in ("-c", each)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def received(self, node: Node) -> int:
        """Return how much log a standby has."""
        row = self.ask("SELECT pg_last_wal_receive_lsn() - '0/0'", node=node)
        return int(float(row[0] or 0))

    def wait_for_standbys(self, count: int) -> None:
        """Wait until so many are synchronous."""
        sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('quorum', 'sync')"
        self.wait_until(sql, str(count))

    def wait_until(self, sql: str, answer: str, *, node: Node | None = None) -> None:
        """Wait for an answer."""
        until = time.monotonic() + START_SECONDS
        while (told := self.ask(sql, node=node)) != [answer]:
            assert time.monotonic() < until, f"{sql}: {told}"
            time.sleep(0.05)

    def url(
        self,
        *,
        schema: str = "",
        user: str = "postgres",
        database: str = "postgres",
        nodes: Sequence[Node] = (),
        ports: Iterable[int] = (),
    ) -> str:
        """Return the store's URL, with all hosts, or with these ports."""
        numbers = list(ports) or [one.port for one in nodes or self.nodes]
        hosts = ",".join(f"127.0.0.1:{port}" for port in numbers)
        path = f"?search_path={schema}" if schema else ""
        return f"postgresql://{user}@{hosts}/{database}{path}"

    def new_url(self, ports: Iterable[int] = ()) -> str:
        """Return the URL of a store that is not there yet."""
        if not self._spare:
            self._spare = [f"s{os.urandom(6).hex()}" for _ in range(40)]
            self.ask("".join(f"CREATE SCHEMA {each};" for each in self._spare))
        return self.url(schema=self._spare.pop(), ports=ports)

    # --- ending it

    def end(self) -> None:
        """End all."""
        for node in self.nodes:
            node.thaw()
            node.kill()

    def _do(self, program: str, *arguments: object) -> None:
        command = [*_as_user(), self.bin / program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        if os.geteuid() == 0:
            user = _user()
            assert user is not None
            os.chown(path, user.pw_uid, user.pw_gid)


def _as_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=KILL"]


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """Make a cluster, and end it."""
    folder = require_binaries()
    with tempfile.TemporaryDirectory(prefix="prixfixe-pg-") as made:
        place = Path(made)
        if os.geteuid() == 0:
            user = _user()
            assert user is not None
            os.chown(place, user.pw_uid, user.pw_gid)
        cluster = Cluster(place, folder)
        try:
            cluster.make()
            yield cluster
        finally:
            cluster.end()
