"""The machine that builds and runs the image: what a deployment asks for before it begins."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.container import engine

OLDEST_API = (1, 41)  # of Docker 20.10
ROOM = 2_000_000_000  # the base image, the build's stages, the image


@pytest.mark.usefixtures("image")
def test_the_engine_is_not_older_than_what_is_supported():
    version = tuple(map(int, engine.client().version()["ApiVersion"].split(".")))
    assert version >= OLDEST_API, "Docker 20.10 or later is needed"


@pytest.mark.usefixtures("image")
def test_there_is_room_for_what_is_built():
    """Where the engine keeps images, or where it is not of this machine, here."""
    root = Path(engine.client().info()["DockerRootDir"])
    place = root if root.exists() else tempfile.gettempdir()
    assert shutil.disk_usage(place).free >= ROOM, f"{place}: two gigabytes are needed"
