"""The image can be built anew, anywhere, and comes out the same.

`nox -s container -- tests/container/test_image_builds.py --builds` takes two minutes of a processor.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.container import engine
from tests.container.builder import BASE, ROOT, build
from tests.container.tree import tree_of

pytestmark = pytest.mark.xdist_group("builds")  # one after the other: each takes a core


def layers(image):
    return engine.client().images.get(image).attrs["RootFS"]["Layers"]


def packages(image):
    """Return what Debian packages of which version are in the image."""
    tree = tree_of(image)
    found = [name for name in tree.files() if name.startswith("var/lib/dpkg/status.d/")]
    return {name: tree.text(name) for name in found}


@pytest.fixture(autouse=True)
def _asked_for(request):
    if not request.config.getoption("--builds"):
        pytest.skip("it takes minutes: --builds")


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("image")
def test_two_builds_give_the_same_layers():
    labels = engine.labels()
    first = build(nocache=True, labels=labels)
    second = build(labels=labels)
    if packages(first) != packages(second):  # Debian moved on since the cache was made.
        second = build(nocache=True, labels=labels)
    assert layers(first) == layers(second)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("image")
def test_buildkit_builds_it_too():
    """Docker's own client of 20.10 carries BuildKit, later ones need the buildx plugin."""
    client = next((one for one in _clients() if _knows_buildkit(one)), None)
    if client is None:
        pytest.skip("no docker client here builds with BuildKit")
    tag = f"{engine.new_name()}:buildkit"
    command = [client, "build", "--network", "host", "--build-arg", f"BASE_IMAGE={BASE}"]
    for name, value in engine.labels().items():
        command += ["--label", f"{name}={value}"]
    done = subprocess.run(
        [*command, "--tag", tag, str(ROOT)],
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    built = engine.client().images.get(tag)
    assert built.attrs["Config"]["Healthcheck"]["Test"][0] == "CMD"
    assert len(layers(tag)) == 1


def _clients():
    return {
        path
        for name in ("/usr/bin/docker", shutil.which("docker"))
        if (path := name) and Path(path).exists()
    }


def _knows_buildkit(client):
    if (
        "version 20."
        in subprocess.run([client, "--version"], capture_output=True, text=True).stdout
    ):
        return True
    plugin = subprocess.run([client, "buildx", "version"], capture_output=True)
    return plugin.returncode == 0
