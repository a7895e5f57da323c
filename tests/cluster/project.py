"""The compose project of a cluster: its containers, what it publishes, what Patroni says.

It is put up from a copy of the compose file that differs in three things: free ports in the place
of fixed ones, labels of this run, and the image under test.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
from typing import TYPE_CHECKING, Any

import yaml
from docker.errors import NotFound

from tests.container import engine
from tests.container.box import PYTHON, Answer, headers_of
from tests.container.deployed import taken_port
from tests.container.staging import staged
from tests.container.waiting import eventually
from tests.durability.ledger import Found
from tests.support.script_runner import ROOT, Shell

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ETCD", "NODES", "SERVERS", "Project"]

FILE = "docker-compose.cluster.yml"
SERVERS = ("smtp1", "smtp2", "smtp3")
NODES = ("postgres1", "postgres2", "postgres3")
ETCD = ("etcd1", "etcd2", "etcd3")
SERVICES = (*SERVERS, *NODES, *ETCD, "balancer")
SMTP, HTTP = 2525, 8025
SMTP_OF = dict(zip(SERVERS, (12521, 12522, 12523), strict=True))
HTTP_OF = dict(zip(SERVERS, (18021, 18022, 18023), strict=True))
STATES = ("running", "streaming")
PORTS = (SMTP, HTTP, *SMTP_OF.values(), *HTTP_OF.values())
WHOLE_SECONDS = 240.0
PAGE = 1000
READ = """
import hashlib, json, os
from prixfixe.stores.registry import open_reader
reader = open_reader(os.environ["SMTP_STORE"])
for name in reader.ids():
    one = reader.get(name)
    to = [each.address for each in one.envelope.recipients]
    print(json.dumps([name, one.envelope.sender, to, hashlib.sha256(one.body).hexdigest()]))
"""


class Project(Shell):
    """The containers of one project, by the names of their services."""

    def __init__(self, folder: Path, image: str) -> None:
        super().__init__(folder)
        self.name = engine.new_name()
        self.image = image
        shutil.copytree(ROOT / "docker", folder / "docker")
        shutil.copytree(ROOT / "deployment" / "cluster", folder / "deployment" / "cluster")
        self._held = contextlib.ExitStack()
        self._ports = {port: self._held.enter_context(taken_port()) for port in PORTS}
        (folder / FILE).write_text(yaml.safe_dump(_of_this_run(ROOT / FILE, self._ports)))
        self.environ = staged(folder, self.name, image) | {"PRIXFIXE_CLUSTER": self.name}

    def compose(self, *words: str, seconds: float = 600.0) -> None:
        """Run docker compose as a user does; it must end well."""
        done = self.run("compose.sh", "--file", FILE, *words, seconds=seconds)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    # --- containers

    def container(self, service: str) -> Any:
        """Return a service's container as it is now."""
        return engine.client().containers.get(f"{self.name}-{service}-1")

    def kill(self, service: str) -> None:
        """Take a container away as a lost machine does; its volume stays."""
        self.container(service).kill()

    def start(self, service: str) -> None:
        """Start a container that was killed."""
        self.container(service).start()

    def is_healthy(self, service: str) -> bool:
        """Whether a container runs and, where there is a probe, passes it."""
        state = self.container(service).attrs["State"]
        return state["Status"] == "running" and state.get("Health", {}).get("Status") in (
            None,
            "healthy",
        )

    def wait_until_whole(self) -> None:
        """Wait until all containers are healthy, both standbys count and all servers are ready."""
        for service in SERVICES:
            eventually(
                lambda service=service: self.is_healthy(service), WHOLE_SECONDS, service, 0.2
            )  # type: ignore[misc]
        eventually(lambda: len(self.standbys()) == len(NODES) - 1, WHOLE_SECONDS, "standbys", 1.0)
        for server in SERVERS:
            eventually(lambda server=server: self.is_ready(server), WHOLE_SECONDS, server, 0.2)  # type: ignore[misc]

    def logs(self) -> dict[str, str]:
        """Return what each container logged."""
        found = {}
        for service in (*SERVICES, "migrate"):
            with contextlib.suppress(NotFound):
                found[service] = self.container(service).logs().decode("utf-8", "replace")
        return found

    # --- from outside, through the balancer

    def port(self, inside: int) -> int:
        """Return where a port of the balancer is on this machine."""
        return self._ports[inside]

    def http(self, path: str, inside: int = HTTP, method: str = "GET") -> Answer:
        """Ask the servers, or one of them by its own port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port(inside), timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), headers_of(answer))

    def readiness(self, server: str) -> dict[str, Any]:
        """Return what a server's /readyz says, {} where no server answers."""
        try:
            answer = self.http("/readyz", HTTP_OF[server])
        except (OSError, http.client.HTTPException):
            return {}
        return answer.json if answer.body.startswith(b"{") else {}  # the balancer's own is HTML

    def is_ready(self, server: str) -> bool:
        """Whether a server says that it is ready."""
        return bool(self.readiness(server).get("status") == "ready")

    def shown(self, server: str) -> list[str]:
        """Return the ids of all messages as one server lists them, newest first."""
        found: list[str] = []
        while page := self._page(server, len(found)):
            found += page
        return found

    def _page(self, server: str, start: int) -> list[str]:
        answer = self.http(f"/api/v1/messages?start={start}&limit={PAGE}", HTTP_OF[server])
        assert answer.status == 200, answer
        return [one["ID"] for one in answer.json["messages"]]

    def found(self, server: str) -> list[Found]:
        """Return every message as the store gives it to a server's container."""
        done = self.container(server).exec_run([PYTHON, "-IBc", READ])
        assert done.exit_code == 0, done.output
        rows = [json.loads(line) for line in done.output.decode().splitlines()]
        return [Found(name, sender, tuple(to), digest) for name, sender, to, digest in rows]

    # --- Patroni

    def on_a_node(self, *command: str) -> str:
        """Run a command on the first node that runs, and return what it printed."""
        [node, *_] = [one for one in NODES if self.container(one).status == "running"]
        done = self.container(node).exec_run(list(command))
        assert done.exit_code == 0, done.output
        return str(done.output.decode())

    def set(self, setting: str) -> None:
        """Change a setting of Patroni while it runs: `set("synchronous_mode=off")`."""
        file = "/etc/patroni/patroni.yml"
        self.on_a_node("patronictl", "-c", file, "edit-config", "--force", "--set", setting)

    def members(self) -> dict[str, str]:
        """Return the role of each node that runs, as Patroni sees it."""
        rows = json.loads(self.on_a_node("curl", "--silent", "localhost:8008/cluster"))["members"]
        return {row["name"]: row["role"] for row in rows if row["state"] in STATES}

    def primary(self) -> str:
        """Wait for a primary and return its node."""
        return eventually(
            lambda: next((name for name, role in self.members().items() if role == "leader"), ""),
            WHOLE_SECONDS,
            "a primary",
            1.0,
        )

    def standbys(self) -> list[str]:
        """Return the standbys whose confirmation counts."""
        return sorted(name for name, role in self.members().items() if role == "quorum_standby")

    # --- the end

    def discard(self) -> None:
        """Remove everything of it."""
        engine.remove_named(self.name)
        self._held.close()


def _of_this_run(file: Path, ports: dict[int, int]) -> dict[str, Any]:
    project: dict[str, Any] = yaml.safe_load(file.read_text())
    labels = {"labels": engine.labels()}
    for service in project["services"].values():
        service.update(labels)
        if "build" in service:
            service["build"] |= labels
    balancer = project["services"]["balancer"]
    balancer["ports"] = [f"127.0.0.1:{outside}:{inside}" for inside, outside in ports.items()]
    for kind in ("networks", "volumes"):
        project[kind] = {name: (one or {}) | labels for name, one in project[kind].items()}
    return project
