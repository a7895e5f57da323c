"""The Docker engine: one client, the run's label, and the removal of what a run made.

Everything made through here carries the label of the run. `sweep` removes what has a run's label
or a name of that run, and nothing else. `sweep_dead` does so for runs of this checkout that were
killed.

Ryuk is off: the label replaces it, without a second image and a privileged container.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import socket
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
# Where the tests run in a container themselves, ports are still on this loopback.
os.environ.setdefault("TESTCONTAINERS_CONNECTION_MODE", "docker_host")

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "LABEL",
    "client",
    "facts",
    "image_name",
    "images",
    "labels",
    "name_run",
    "network",
    "new_name",
    "remove_named",
    "sweep",
    "sweep_dead",
]

LABEL = "prixfixe.testrun"
_CHECKOUT = hashlib.sha256(bytes(Path(__file__).parents[2])).hexdigest()[:8]
_run = ""


@functools.cache
def client() -> docker.DockerClient:
    """Return this process's one client; raises `DockerException` when there is no engine."""
    _knock()
    return docker.from_env(timeout=120)


def _knock() -> None:
    """Ask whether anybody is there: the library leaks a socket where nobody is."""
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as door:
            try:
                door.connect(host.removeprefix("unix://"))
            except OSError as error:
                raise DockerException(f"{host}: {error.strerror}") from error


def name_run(name: str = "") -> str:
    """Set the name of this run, or make one up: the checkout and the process that answers for it."""
    global _run  # noqa: PLW0603 - a process has one run
    _run = name or f"{_CHECKOUT}-{os.getpid()}"
    return _run


def labels() -> dict[str, str]:
    """Return what everything of this run is labelled with."""
    return {LABEL: _run or name_run()}


def new_name() -> str:
    """Return a name nobody has."""
    return f"prixfixe-{labels()[LABEL]}-{uuid.uuid4().hex[:8]}"


@functools.cache
def network() -> str:
    """Return the name of the run's own network, made when it is first asked for.

    The engine takes many networks of one name; the process that answers for the run asks first.
    """
    name = f"prixfixe-{labels()[LABEL]}"
    if not client().networks.list(names=[name]):
        client().networks.create(name, driver="bridge", labels=labels())
    return name


def sweep(run: str, tested: str = "") -> None:
    """Remove every container, network, volume and image with a run's label, or a name made in it.

    The image under test stays, if it is named here, and what it was made of.
    """
    mine = {"label": f"{LABEL}={run}"}
    _remove_all(mine)
    for image in images(filters=mine):
        made_of = _steps(image, tested) if tested else []
        for name in image["RepoTags"] or [image["Id"]]:
            _forget(name, noprune=True)  # what it was made of may be under test
        for step in made_of:
            _forget_unless_used(step)
    remove_named(f"prixfixe-{run}-")  # compose labels only what it is told to
    _forget(image_name(run))  # with its layers that have no other name


def _steps(image: dict[str, Any], tested: str) -> list[str]:
    """Return the nameless images that the classic builder made an image of, the nearest first."""
    known = {one["Id"]: one for one in images()}
    steps = []
    parent = known.get(image["ParentId"])
    while parent and not parent["RepoTags"] and parent["Id"] != tested:
        steps.append(parent["Id"])
        parent = known.get(parent["ParentId"])
    return steps


def _forget_unless_used(image: str) -> None:
    with contextlib.suppress(NotFound, APIError):  # APIError: another image is made of it
        client().images.remove(image, noprune=True)


def remove_named(name: str) -> None:
    """Remove containers, networks, volumes and images whose name begins with one of `new_name`."""
    _remove_all({"name": name})
    for image in images():
        for tag in image["RepoTags"]:
            if tag.startswith(name):
                _forget(tag)


def _remove_all(filters: dict[str, str]) -> None:
    engine = client()
    for container in engine.containers.list(all=True, filters=filters, ignore_removed=True):
        _remove(container, force=True, v=True)
    for network in engine.networks.list(filters=filters):
        _remove(network)
    for volume in engine.volumes.list(filters=filters):
        _remove(volume, force=True)


def images(**options: Any) -> list[dict[str, Any]]:
    """Return the engine's own list of images, with their `RepoTags` and `Labels`.

    docker-py's list asks for each one again, and fails where another worker removed it meanwhile.
    """
    found = client().api.images(all=True, **options)
    for image in found:
        image["RepoTags"] = [tag for tag in image["RepoTags"] or () if tag != "<none>:<none>"]
    return list(found)


def image_name(run: str = "") -> str:
    """Return the name under which a run builds the image that it tests."""
    return f"prixfixe-test:{run or labels()[LABEL]}"


def _forget(image: str, **options: bool) -> None:
    with contextlib.suppress(NotFound, APIError):
        client().images.remove(image, force=True, **options)


def _remove(thing: Any, **options: Any) -> None:
    with contextlib.suppress(NotFound, APIError):
        thing.remove(**options)


def sweep_dead() -> None:
    """Remove what earlier runs of this checkout left when they were killed."""
    for run in _runs():
        checkout, _, pid = run.rpartition("-")
        if checkout == _CHECKOUT and pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            sweep(run)


def _runs() -> set[str]:
    engine = client()
    things: Iterable[Any] = (
        *engine.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True),
        *engine.networks.list(filters={"label": LABEL}),
        *engine.volumes.list(filters={"label": LABEL}),
    )
    made = {_label_of(thing.attrs) for thing in things}
    return (made | {_label_of(image) for image in images(filters={"label": LABEL})}) - {""}


def _label_of(attributes: dict[str, Any]) -> str:
    found = (attributes.get("Labels") or attributes.get("Config", {}).get("Labels") or {}).get(
        LABEL
    )
    return found or ""


def facts(image: str) -> list[str]:
    """Return the lines a report begins with: what was tested, on what."""
    try:
        engine = client()
        version, info = engine.version(), engine.info()
    except DockerException as error:
        return [f"docker: none ({error})"]
    try:
        made = engine.images.get(image).attrs["Created"]
    except (ImageNotFound, DockerException):
        made = "?"
    security = ", ".join(info.get("SecurityOptions") or [])
    cgroup = info.get("CgroupVersion", "1")
    lines = {
        "image": f"{image} of {made}",
        "docker": f"{version['Version']}, API {version['ApiVersion']}",
        "engine": f"storage {info['Driver']}, cgroup v{cgroup}, {security}",
        "machine": f"{info['NCPU']} CPUs, {info['MemTotal'] >> 20} MiB, "
        f"Linux {info['KernelVersion']}, {platform.machine()}",
    }
    return [f"{name}: {text}" for name, text in lines.items()]
