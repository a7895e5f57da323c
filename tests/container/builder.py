"""Build the image under test, after its base image was pulled or made.

It uses the classic builder, because BuildKit builds the same Dockerfiles. A failed build shows the
end of its log. One named build stage stays as the cache of the next build.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
from docker.errors import BuildError, DockerException, ImageNotFound

if TYPE_CHECKING:
    from docker.models.images import Image

__all__ = ["BASE", "ROOT", "build", "ensure_base", "revision"]

ROOT = Path(__file__).parents[2]
BASE = "debian:trixie-slim"
_LOG_CHARACTERS = 4000


class BuildFailedError(Exception):
    """The image cannot be built; the text is the end of the build's log."""


def ensure_base(client: docker.DockerClient, name: str = BASE) -> None:
    """Have the base image: here already, pulled, or made from Debian packages.

    Raises:
        BuildFailedError: it can be had in none of these ways.

    """
    try:
        client.images.get(name)
        return
    except ImageNotFound:
        pass
    try:
        client.images.pull(name)
    except DockerException:
        made = subprocess.run(
            [ROOT / "scripts" / "base-image.sh", name], capture_output=True, text=True
        )
        if made.returncode:
            raise BuildFailedError(made.stdout + made.stderr) from None


@functools.cache
def revision() -> str:
    """Return the commit that is checked out, with `-dirty` when files differ from it."""
    found = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() or "unknown"


def build(
    *,
    client: docker.DockerClient | None = None,
    tag: str | None = None,
    labels: dict[str, str] | None = None,
    nocache: bool = False,
) -> str:
    """Build the checkout's image and return its id.

    Raises:
        BuildFailedError: the base image cannot be had, or a step failed.

    """
    client = client or docker.from_env(timeout=600)
    ensure_base(client)
    arguments = {"REVISION": revision(), "BASE_IMAGE": BASE}
    common = {"buildargs": arguments, "rm": True, "forcerm": True}
    if nocache:
        return _build_anew(client, common, tag=tag, labels=labels)
    stage = "prixfixe-build:" + hashlib.sha256(bytes(ROOT)).hexdigest()[:12]
    before = _id_of(client, stage)
    after = _run(client, target="build", tag=stage, **common).id
    if before not in (None, after):
        _forget(client, before)
    return _run(client, tag=tag, labels=labels, **common).id


def _build_anew(client: docker.DockerClient, common: dict[str, Any], **options: Any) -> str:
    """Build without the cache and leave nothing but the image."""
    name = uuid.uuid4().hex
    common["buildargs"] = {**common["buildargs"], "BUILD_ID": name}
    image = _run(client, nocache=True, **options, **common).id
    for stage in client.images.list(filters={"label": f"prixfixe.build={name}", "dangling": True}):
        _forget(client, stage.id)
    return str(image)


def created() -> str:
    """Return the time of a label `created` (RFC 3339)."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _run(client: docker.DockerClient, **options: Any) -> Image:
    labels = {"org.opencontainers.image.created": created(), **(options.pop("labels", None) or {})}
    if "target" not in options:
        options["labels"] = labels
    try:
        image, _log = client.images.build(path=str(ROOT), **options)
    except BuildError as error:
        log = "".join(entry.get("stream", "") for entry in error.build_log)
        msg = f"{log[-_LOG_CHARACTERS:]}\n{error}"
        raise BuildFailedError(msg) from error
    return image


def _id_of(client: docker.DockerClient, name: str) -> str | None:
    try:
        return client.images.get(name).id
    except ImageNotFound:
        return None


def _forget(client: docker.DockerClient, image: str) -> None:
    try:
        client.images.remove(image)
    except DockerException:
        return  # Something still uses it: it is not only ours.
