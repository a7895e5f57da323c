"""Render the chart with the real helm and find objects in the result.

The same values are rendered only once in a process.
"""

from __future__ import annotations

import base64
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.kubernetes.tools import run

if TYPE_CHECKING:
    from subprocess import CompletedProcess

__all__ = ["CHART", "Rendered", "attempt", "pod_of", "render"]

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deployment" / "helm" / "prixfixe"
RELEASE, NAMESPACE = "mail", "post"
WORKLOADS = ("StatefulSet", "Deployment")

Object = dict[str, Any]


def attempt(values: Object, *words: str) -> CompletedProcess[str]:
    """Run `helm template`, or another command of words, with these values."""
    command = words or ("template",)
    release = (RELEASE,) if command[0] != "lint" else ()
    where = ("--namespace", NAMESPACE, "--values", "-")
    return run("helm", *command, *release, str(CHART), *where, text=yaml.safe_dump(values))


def pod_of(workload: Object) -> Object:
    """Return the pod's spec of a workload or of a pod."""
    spec: Object = workload["spec"]
    return spec["template"]["spec"] if "template" in spec else spec


class Rendered:
    """The objects of one rendering."""

    def __init__(self, objects: list[Object]) -> None:
        self.objects = objects

    def all(self, kind: str) -> list[Object]:
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind: str, suffix: str = "") -> Object:
        """Return the one object of a kind whose name ends so."""
        found = [one for one in self.all(kind) if one["metadata"]["name"].endswith(suffix)]
        assert len(found) == 1, (kind, suffix, [one["metadata"]["name"] for one in found])
        return found[0]

    @property
    def workload(self) -> Object:
        found = [one for one in self.objects if one["kind"] in WORKLOADS]
        assert len(found) == 1
        return found[0]

    @property
    def pod(self) -> Object:
        return pod_of(self.workload)

    @property
    def container(self) -> Object:
        found = self.pod["containers"]
        assert len(found) == 1
        return dict(found[0])

    @property
    def pods(self) -> list[Object]:
        """Every pod's spec, that of `helm test` too."""
        return [pod_of(one) for one in self.objects if one["kind"] in (*WORKLOADS, "Pod")]

    @property
    def environ(self) -> dict[str, str]:
        """The environment of the container."""
        names = [one["configMapRef"]["name"] for one in self.container["envFrom"]]
        assert names == [self.one("ConfigMap")["metadata"]["name"]]
        own = {one["name"]: one["value"] for one in self.container.get("env", [])}
        return {**self.one("ConfigMap")["data"], **own}

    def file(self, path: str) -> tuple[str, str]:
        """Return Secret and key of what is mounted as a file at this path."""
        mounts = {one["mountPath"]: one for one in self.container["volumeMounts"]}
        folder, _, name = path.rpartition("/")
        assert "subPath" not in mounts[folder]  # the kubelet renews whole folders only
        volume = next(one for one in self.pod["volumes"] if one["name"] == mounts[folder]["name"])
        for secret, items in _secrets(volume):
            for item in items:
                if item["path"] == name:
                    return secret, item["key"]
        raise AssertionError(f"nothing is mounted at {path}")

    def secret(self, name: str, key: str) -> str:
        """Return a value of a Secret that the chart makes."""
        found = next(one for one in self.all("Secret") if one["metadata"]["name"] == name)
        return base64.b64decode(found["data"][key]).decode()


def _secrets(volume: Object) -> list[tuple[str, list[dict[str, str]]]]:
    if "secret" in volume:
        return [(volume["secret"]["secretName"], volume["secret"]["items"])]
    sources = [one["secret"] for one in volume["projected"]["sources"]]
    return [(one["name"], one["items"]) for one in sources]


@functools.cache
def _rendered(values: str) -> Rendered:
    done = attempt(json.loads(values))
    assert done.returncode == 0, done.stderr
    return Rendered([one for one in yaml.safe_load_all(done.stdout) if one])


def render(values: Object) -> Rendered:
    """Return what the chart makes of these values."""
    return _rendered(json.dumps(values, sort_keys=True))
