"""A pod of the Kubernetes manifests as a Docker container, and what a kubelet does with it.

It translates the pod's spec into docker-py's options and plays probes, preStop, the grace period
and the folder of a Secret. An unknown field fails the test. Services, policies and rollouts need a
cluster and are left to the tests.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

from tests.container.profile import MAIL
from tests.container.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.container.box import Box

__all__ = ["Kubelet", "SecretFolder", "options"]

# What is about placement, or is the kubelet's default.
_POD_IGNORED = {"topologySpreadConstraints", "automountServiceAccountToken", "enableServiceLinks"}
_CONTAINER_IGNORED = {"name", "image", "imagePullPolicy"}


def options(
    pod: Mapping[str, Any], secrets: Mapping[str, Path], *, volume: str | None
) -> dict[str, Any]:
    """Return the options of `start_box` for a pod; `secrets` are folders by the volume's name."""
    spec = dict(pod)
    security = dict(spec.pop("securityContext"))
    (container,) = spec.pop("containers")
    volumes = {one["name"]: one for one in spec.pop("volumes", [])}
    spec.pop("terminationGracePeriodSeconds")
    assert not spec.keys() - _POD_IGNORED, spec
    assert security.pop("runAsNonRoot") is True
    assert security.pop("seccompProfile") == {"type": "RuntimeDefault"}  # Docker's own default
    security.pop("fsGroupChangePolicy")
    group = security.pop("fsGroup")
    made: dict[str, Any] = {
        "user": f"{security.pop('runAsUser')}:{security.pop('runAsGroup')}",
        "group_add": [group],
        "volume": volume,
        "healthcheck": {"test": ["NONE"]},  # Kubernetes does not know the image's
        "pids_limit": None,
        "ulimits": None,
    }
    assert not security, security
    return made | _of_container(dict(container), volumes, secrets)


def _of_container(
    container: dict[str, Any], volumes: Mapping[str, Any], secrets: Mapping[str, Path]
) -> dict[str, Any]:
    for name in ("envFrom", "env", "startupProbe", "livenessProbe", "readinessProbe", "lifecycle"):
        container.pop(name, None)  # the test's and the kubelet's part
    security = dict(container.pop("securityContext"))
    limits = container.pop("resources")["limits"]
    mounts = container.pop("volumeMounts")
    made: dict[str, Any] = {
        "read_only": security.pop("readOnlyRootFilesystem"),
        "cap_drop": security.pop("capabilities")["drop"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": limits["memory"].replace("Mi", "m"),
        "ports": tuple(one["containerPort"] for one in container.pop("ports")),
        "command": container.pop("args", None),
    }
    assert security.pop("allowPrivilegeEscalation") is False
    assert not security, security
    assert not container.keys() - _CONTAINER_IGNORED, container
    return made | _mounted(mounts, volumes, secrets)


def _mounted(
    mounts: list[dict[str, Any]], volumes: Mapping[str, Any], secrets: Mapping[str, Path]
) -> dict[str, Any]:
    tmpfs, binds = {}, {}
    for mount in mounts:
        volume = volumes.get(mount["name"])
        if volume is None:  # of the StatefulSet's claims
            assert mount["mountPath"] == MAIL
        elif "emptyDir" in volume:
            size = volume["emptyDir"]["sizeLimit"].replace("Mi", "m")
            tmpfs[mount["mountPath"]] = f"size={size},mode=1777"
        else:
            assert mount["readOnly"] is True
            folder = str(secrets[mount["name"]])
            binds[folder] = {"bind": mount["mountPath"], "mode": "ro"}
    return {"tmpfs": tmpfs, "volumes": binds}


class Kubelet:
    """What becomes of one container by its pod's spec."""

    def __init__(self, pod: Mapping[str, Any], box: Box) -> None:
        self.pod, self.box = pod, box
        (self._container,) = pod["containers"]
        self._ports = {one["name"]: one["containerPort"] for one in self._container["ports"]}

    def probe(self, name: str) -> bool:
        """Ask once; what is no answer in time is a failure."""
        asked = self._container[name]["httpGet"]
        assert self._ports[asked["port"]] == 8025
        with contextlib.suppress(OSError):
            answer = self.box.http(asked["path"], seconds=self._container[name]["timeoutSeconds"])
            return 200 <= answer.status < 400
        return False

    def await_ready(self) -> None:
        """Wait for the startup probe as long as it may fail, then for readiness."""
        startup = self._container["startupProbe"]
        most = startup["periodSeconds"] * startup["failureThreshold"]
        eventually(lambda: self.probe("startupProbe"), most, "the startup probe")
        eventually(lambda: self.probe("readinessProbe"), 30, "readiness")
        assert self.probe("livenessProbe")

    def end(self) -> int:
        """Run preStop, send SIGTERM, kill when the grace is over; return the exit code."""
        pause = self._container["lifecycle"]["preStop"]["sleep"]["seconds"]
        time.sleep(pause)  # it is the spec's, and nothing is waited for
        return self.box.stop(self.pod["terminationGracePeriodSeconds"] - pause)


class SecretFolder:
    """A mounted Secret: names lead through `..data`, which is one rename away from the next."""

    def __init__(self, folder: Path, group: int = 1000) -> None:
        self.folder, self._group, self._count = folder, group, 0
        folder.mkdir(mode=0o755)

    def put(self, files: Mapping[str, bytes]) -> None:
        """Replace all files at once, as the kubelet does."""
        self._count += 1
        inner = self.folder / f"..{self._count}"
        inner.mkdir(mode=0o755)
        for name, octets in files.items():
            (inner / name).write_bytes(octets)
            self._protect(inner / name)
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        link = self.folder / "..data_tmp"
        link.symlink_to(inner.name)
        link.replace(self.folder / "..data")

    def _protect(self, path: Path) -> None:
        """Give a file defaultMode 0440 and fsGroup; who is not root cannot give it away."""
        if os.geteuid() == 0:
            os.chown(path, 0, self._group)
            path.chmod(0o440)
        else:
            path.chmod(0o444)
