"""`docker://IMAGE`: containers of an image, on a network of their own without a way out.

All that is made has the label of its run, and `close` removes what has it; what a killed run left
is removed by the next. Clients reach a container at its
own address; where that cannot be reached from here, at a port that is published on 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
import tarfile
import time
import uuid
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from prixfixe.verify.interrupts import Gate
from prixfixe.verify.targets.base import (
    EnvironmentFault,
    Launch,
    Machine,
    Source,
    cannot,
    files_below,
    stem,
)
from prixfixe.verify.targets.owner import is_gone, me

if TYPE_CHECKING:
    from collections.abc import Container

    from prixfixe.verify.contract import Contract

__all__ = ["LABEL", "DockerSource", "engine"]

LABEL = "prixfixe.verify"
OWNER = f"{LABEL}.owner"  # the process; what is kept for a look has none
MEMORY = "512m"
SWEEP_SECONDS = 20.0
SECONDS = 120
SMTP_PORTS = (25, 2525, 1025, 587, 3025)
HTTP_PORTS = (8025, 1080, 80, 8080)


def engine() -> Any:  # noqa: ANN401 - docker-py has no types
    """Return a client of the engine.

    Raises:
        EnvironmentFault: there is none.

    """
    import docker
    from docker.errors import DockerException

    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    try:
        if host.startswith("unix://"):  # docker-py leaks a socket where nobody is
            with socket.socket(socket.AF_UNIX) as door:
                door.connect(host.removeprefix("unix://"))
        return docker.from_env(timeout=SECONDS)
    except (OSError, DockerException) as error:
        msg = f"no Docker engine at {host}: {error}"
        raise EnvironmentFault(msg) from error


class DockerMachine(Machine):
    """One container."""

    def __init__(self, source: DockerSource, container: Any) -> None:  # noqa: ANN401
        self.source, self.container = source, container
        self._reachable = ""

    def address(self, port: int) -> tuple[str, int]:
        self.container.reload()
        settings = self.container.attrs["NetworkSettings"]
        for one in settings["Networks"].values():
            host = str(one.get("IPAddress") or "")
            if host and self.source.is_reachable(host, port):
                return host, port
        for one in (settings["Ports"] or {}).get(f"{port}/tcp") or ():
            return "127.0.0.1", int(one["HostPort"])
        raise ConnectionRefusedError(port)

    def is_running(self) -> bool:
        return bool(self.facts()["State"]["Running"])

    def signal(self, name: str) -> None:
        from docker.errors import APIError

        with contextlib.suppress(APIError):  # it has ended
            self.container.kill(signal=name)

    def wait(self, seconds: float) -> int:
        from requests.exceptions import RequestException

        try:
            return int(self.container.wait(timeout=seconds)["StatusCode"])
        except RequestException:
            msg = f"the container still runs after {seconds:g} s"
            raise TimeoutError(msg) from None

    def stop(self, seconds: float) -> int:
        self.container.stop(timeout=int(seconds))
        return self.wait(10)

    def start_again(self) -> None:
        self.container.start()

    def remove(self) -> None:
        from docker.errors import APIError

        with contextlib.suppress(APIError):
            self.container.remove(force=True, v=True)

    def logs(self) -> str:
        return str(self.container.logs().decode("utf-8", "replace"))

    def memory(self) -> int:
        told = self.container.stats(stream=False, one_shot=True)["memory_stats"]
        if "usage" not in told:
            raise cannot("memory")
        stats = told.get("stats", {})
        cached = stats.get("total_inactive_file", stats.get("inactive_file", 0))
        return int(told["usage"]) - int(cached)

    def facts(self) -> dict[str, Any]:
        self.container.reload()
        return dict(self.container.attrs)

    def run(self, *command: str) -> tuple[int, bytes]:
        done = self.container.exec_run(list(command))
        return int(done.exit_code), bytes(done.output)

    def files(self, path: str, known: Container[str] = ()) -> dict[str, bytes | None]:
        from docker.errors import NotFound

        if (mounted := self._mounted(path)) is not None:
            return files_below(mounted, known)
        try:
            stream, _ = self.container.get_archive(path)
        except NotFound:
            return {}
        above = PurePosixPath(path).parent
        octets = io.BytesIO(b"".join(stream))
        found: dict[str, bytes | None] = {}
        with tarfile.open(fileobj=octets) as tar:
            for one in tar:
                file = tar.extractfile(one) if one.isreg() else None
                if file is not None:
                    name = str(above / one.name)
                    found[name] = None if stem(name) in known else file.read()
        return found

    def _mounted(self, path: str) -> Path | None:
        """Return where a path on a volume or in memory is here, if it can be read."""
        inside = PurePosixPath(path)
        for top in self.container.attrs["HostConfig"].get("Tmpfs") or ():
            if inside.is_relative_to(top):  # the engine shows what the mount hides
                found = Path(f"/proc/{self.facts()['State']['Pid']}/root{inside}")
                return found if os.access(found, os.R_OK | os.X_OK) else None
        for one in self.container.attrs.get("Mounts", ()):
            if one.get("Type") == "volume" and inside.is_relative_to(one["Destination"]):
                found = Path(one["Source"]) / inside.relative_to(one["Destination"])
                return found if os.access(found, os.R_OK | os.X_OK) else None
        return None


class DockerSource(Source):
    """An image of an engine; `name` is what the target is called, by default docker://IMAGE.

    `volume` is where its mail is, if the contract does not say it.
    """

    can_start = has_image = is_many = True

    def __init__(self, image: str, name: str = "", volume: str = "") -> None:
        from docker.errors import APIError, ImageNotFound

        self.name = name or f"docker://{image}"
        self._volume = volume
        self.client = engine()
        try:
            self.image = self.client.images.get(image)
        except (ImageNotFound, APIError) as error:
            msg = f"{image}: the engine has no such image; pull or build it first"
            raise EnvironmentFault(msg) from error
        self.run = uuid.uuid4().hex[:12]
        self._network: Any = None
        self._reached: dict[str, bool] = {}
        self.gate = Gate()
        self.is_kept = False
        # Elsewhere, containers are in a machine of their own, which only has published ports.
        local = os.environ.get("DOCKER_HOST", "unix://").startswith("unix://")
        self.is_direct = local and sys.platform == "linux"
        if local:
            self._sweep_the_dead()

    # --- what there is

    @property
    def config(self) -> dict[str, Any]:
        """The image's configuration."""
        return dict(self.image.attrs["Config"])

    def exposed(self) -> list[int]:
        """Return the TCP ports that the image exposes."""
        names = self.config.get("ExposedPorts") or {}
        return sorted(int(name.split("/")[0]) for name in names if not name.endswith("/udp"))

    def complete(self, contract: Contract) -> dict[str, Any]:
        exposed, target = self.exposed(), contract.table("target")
        smtp = [port for port in SMTP_PORTS if port in exposed] or exposed or [25]
        http = [port for port in HTTP_PORTS if port in exposed and port != smtp[0]]
        tables: dict[str, Any] = {"target": {"smtp_port": smtp[0]}}
        if http:
            tables["target"]["http_port"] = http[0]
        if self._volume:
            tables["target"]["volume"] = self._volume
        tables["target"] |= target
        if not contract.table("readback"):
            tables["readback"] = {"kind": "auto"}
        self.ports = [
            int(tables["target"][name])
            for name in ("smtp_port", "http_port", "smtps_port")
            if name in tables["target"]
        ]
        self.volume_path = str(tables["target"].get("volume", ""))
        self.files_path = str(target.get("files", "/run/verify"))
        return tables

    def facts(self) -> dict[str, str]:
        version = self.client.version()
        digests = self.image.attrs.get("RepoDigests") or []
        return {
            "image": self.image.id,
            "run": self.run,
            "digest": digests[0] if digests else "",
            "engine": f"Docker {version['Version']}",
            "architecture": str(self.image.attrs.get("Architecture", "")),
        }

    def is_reachable(self, host: str, port: int) -> bool:
        """Whether containers can be reached at their own addresses, found out once."""
        if host not in self._reached:
            try:
                socket.create_connection((host, port), 2).close()
                self._reached[host] = True
            except ConnectionRefusedError:
                return True  # somebody answers, not yet at this port
            except OSError:
                self._reached[host] = False
        return self._reached[host]

    # --- what is made

    @property
    def labels(self) -> dict[str, str]:
        """What all that is made has."""
        return {LABEL: self.run} if self.is_kept else {LABEL: self.run, OWNER: me()}

    def network(self) -> str:
        """Return the name of the network, made when it is first needed."""
        if self._network is None:
            name = f"prixfixe-verify-{self.run}"
            self._network = self.client.networks.create(
                name, internal=self.is_direct, labels=self.labels
            )
        return str(self._network.name)

    def launch(self, launch: Launch) -> Machine:
        from docker.errors import APIError, ImageNotFound

        mounts = {}
        if launch.volume and self.volume_path:
            mounts[launch.volume] = {
                "bind": self.volume_path,
                "mode": "ro" if launch.is_read_only else "rw",
            }
        if launch.files is not None:
            mounts[str(launch.files)] = {"bind": self.files_path, "mode": "ro"}
        options: dict[str, Any] = {"mem_limit": MEMORY, **launch.hardening}
        if "network_mode" not in options and not self.is_direct:
            options["ports"] = {f"{port}/tcp": ("127.0.0.1", None) for port in self.ports}
        env = {name: self._filled(value) for name, value in launch.env.items()}
        with self.gate.passed():
            if "network_mode" not in options:
                options["network"] = self.network()
            made = self.client.containers.create(
                self.image.id,
                [self._filled(one) for one in launch.args] or None,
                environment=env,
                labels=self.labels,
                volumes=mounts,
                **options,
            )
        try:
            made.start()
        except (APIError, ImageNotFound) as error:
            logs = made.logs().decode("utf-8", "replace")[-500:]
            made.remove(force=True, v=True)
            msg = f"the container does not start: {error.explanation} {logs}"
            raise AssertionError(msg) from error
        made.reload()  # where its volumes are
        return DockerMachine(self, made)

    def _filled(self, text: str) -> str:
        return text.replace("{files}", self.files_path)

    def new_volume(self) -> str:
        with self.gate.passed():
            return str(self.client.volumes.create(labels=self.labels).name)

    def drop_volume(self, name: str) -> None:
        from docker.errors import APIError

        with contextlib.suppress(APIError):
            self.client.volumes.get(name).remove(force=True)

    def tree(self) -> bytes:
        """Return the whole file system of a container that was never started, as a tar."""
        with self.gate.passed():
            made = self.client.containers.create(self.image.id, ["nothing"], labels=self.labels)
        try:
            return b"".join(made.export())
        finally:
            made.remove(force=True)

    def layers(self) -> bytes:
        """Return the image as `docker save` writes it."""
        return b"".join(self.image.save())

    def halt(self) -> None:
        self.gate.shut()
        if not self.is_kept:
            self._sweep(self.run)

    def close(self) -> None:
        if not self.is_kept:
            self._sweep(self.run)
        self.client.close()

    def _sweep_the_dead(self) -> None:
        """Remove what runs left that were killed before they could."""
        of_all = {"label": OWNER}
        listed = self.client.containers.list(all=True, filters=of_all, ignore_removed=True)
        made = [one.labels for one in listed]
        for several in (self.client.networks, self.client.volumes):
            made += [one.attrs.get("Labels") or {} for one in several.list(filters=of_all)]
        for run in {one[LABEL] for one in made if LABEL in one and is_gone(one.get(OWNER, ""))}:
            self._sweep(run)

    def _sweep(self, run: str) -> None:
        """Remove what a run made; what another thread is removing holds the rest up a while."""
        until = time.monotonic() + SWEEP_SECONDS
        while self._remove_all(run) and time.monotonic() < until:
            time.sleep(0.05)

    def _remove_all(self, run: str) -> bool:
        """Try to remove each thing a run made, and tell whether there was any."""
        from docker.errors import APIError

        mine = {"label": f"{LABEL}={run}"}
        containers = self.client.containers.list(all=True, filters=mine, ignore_removed=True)
        networks = self.client.networks.list(filters=mine)
        volumes = self.client.volumes.list(filters=mine)
        for one in containers:
            with contextlib.suppress(APIError):
                one.remove(force=True, v=True)
        for one in networks:
            with contextlib.suppress(APIError):
                one.remove()
        for one in volumes:
            with contextlib.suppress(APIError):
                one.remove(force=True)
        return bool(containers or networks or volumes)
