"""Make the plain manifests in deployment/kubernetes/ from the chart, as bases of kustomize.

Labels, hooks and namespaces that only Helm uses are left out.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import yaml

from tests.kubernetes.rendering import ROOT, render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["BASES", "FOLDER", "expected"]

FOLDER = ROOT / "deployment" / "kubernetes"
BASES: dict[str, dict[str, Any]] = {
    "sqlite": {"fullnameOverride": "prixfixe"},
    "postgresql": {
        "fullnameOverride": "prixfixe",
        "store": {"type": "postgresql", "postgresql": {"existingSecret": "prixfixe-postgresql"}},
    },
}
HEAD = "# Made from the chart by `python -m tests.kubernetes`. Change it by an overlay.\n"
_OF_HELM = ("app.kubernetes.io/managed-by", "helm.sh/chart", "app.kubernetes.io/instance")


def _plain(made: Any) -> Any:
    """Return an object without what only Helm gives: labels, and the namespace."""
    if isinstance(made, list):
        return [_plain(one) for one in made]
    if not isinstance(made, dict):
        return made
    return {name: _plain(value) for name, value in made.items() if name not in _OF_HELM}


def _objects(name: str) -> Iterator[dict[str, Any]]:
    for made in render(BASES[name]).objects:
        if "helm.sh/hook" in made["metadata"].get("annotations", {}):
            continue
        plain = _plain(copy.deepcopy(made))
        del plain["metadata"]["namespace"]
        plain.get("spec", {}).get("template", {}).get("metadata", {}).pop("annotations", None)
        yield plain


def _texts(name: str) -> dict[str, str]:
    objects = list(_objects(name))
    texts: dict[str, list[str]] = {}
    for made in objects:
        if made["kind"] != "ConfigMap":
            text = yaml.safe_dump(made, sort_keys=False, width=96)
            texts.setdefault(f"{made['kind'].lower()}.yaml", []).append(text)
    files = {file: HEAD + "---\n".join(parts) for file, parts in sorted(texts.items())}
    settings = next(one["data"] for one in objects if one["kind"] == "ConfigMap")
    return {
        "kustomization.yaml": HEAD + yaml.safe_dump(_kustomization(list(files)), sort_keys=False),
        "settings.env": HEAD + "".join(f"{key}={value}\n" for key, value in settings.items()),
        **files,
    }


def _kustomization(files: list[str]) -> dict[str, Any]:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": files,
        # Its name ends with a hash of what is in it, so that another setting replaces the pods.
        "configMapGenerator": [{"name": "prixfixe", "envs": ["settings.env"]}],
    }


def expected() -> dict[Path, str]:
    """Return path and text of every file."""
    return {FOLDER / name / file: text for name in BASES for file, text in _texts(name).items()}
