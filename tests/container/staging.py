"""A folder and an environment in which scripts and compose deploy under the names of this run.

The environment puts a `docker` first in PATH that labels what it makes, so that a sweep finds it
after a killed test. The caller's settings and virtual environment are left out.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import yaml

from tests.container import engine
from tests.support.script_runner import clean_environ

__all__ = ["staged"]

# A docker that labels what it makes.
LABELLING = """#!/bin/sh
case "$1 $2" in
"run "* | "build "*) command=$1 && shift ;;
"network create") command="network create" && shift 2 ;;
*) exec {docker} "$@" ;;
esac
exec {docker} $command --label {label} "$@"
"""


def staged(folder: Path, name: str, image: str) -> dict[str, str]:
    """Prepare a folder and return the environment to work in it with, all named for `name`."""
    environ = clean_environ()
    environ.pop("VIRTUAL_ENV", None)
    own = str(Path(sys.executable).parent)
    paths = [path for path in environ["PATH"].split(":") if path != own]
    # What a virtual environment has is found last: compose, where the machine has none.
    environ["PATH"] = ":".join([_labelling_docker(folder), *paths, own])
    if host := os.environ.get("DOCKER_HOST"):
        environ["DOCKER_HOST"] = host
    _label_compose(folder)
    return environ | {
        "PRIXFIXE_NAME": name,
        "COMPOSE_PROJECT_NAME": name,
        "PRIXFIXE_IMAGE": image,
        "PRIXFIXE_HEALTH_INTERVAL": "1s",
    }


def _labelling_docker(folder: Path) -> str:
    [(key, value)] = engine.labels().items()
    tools = folder / "tools"
    tools.mkdir()
    script = LABELLING.format(docker=shutil.which("docker"), label=f"{key}={value}")
    (tools / "docker").write_text(script)
    (tools / "docker").chmod(0o755)
    return str(tools)


def _label_compose(folder: Path) -> None:
    labelled = {"labels": engine.labels()}
    override = {
        "services": {"smtp": labelled},
        "networks": {"mail": labelled},
        "volumes": {"mail": labelled},
    }
    (folder / "docker-compose.override.yml").write_text(yaml.safe_dump(override))
