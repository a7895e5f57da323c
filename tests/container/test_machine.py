"""The machine that builds and runs the image: what a deployment asks for before it begins."""

import io
import shutil
import tempfile
import uuid
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


def test_a_sweep_leaves_no_nameless_image_and_keeps_the_one_under_test(image):
    """The classic builder makes an image of every step, which goes nameless when the last one goes."""
    run, mark = f"sweep-{uuid.uuid4().hex}", uuid.uuid4().hex
    recipe = io.BytesIO(f"FROM {image}\nLABEL prixfixe.mark={mark}\n".encode())
    marked = {"label": f"prixfixe.mark={mark}"}
    engine.client().images.build(
        fileobj=recipe, tag=f"prixfixe-test:{run}", labels={engine.LABEL: run}, rm=True
    )
    assert len(engine.images(filters=marked)) == 2
    engine.sweep(run, image)
    assert engine.images(filters=marked) == []
    assert engine.client().images.get(image)


@pytest.mark.usefixtures("image")
def test_a_sweep_takes_what_has_the_run_s_name_and_no_label():
    """Compose labels only what it is told to: a killed walk left a Prometheus that kept its port."""
    run = f"sweep-{uuid.uuid4().hex}"
    left, another_s = f"prixfixe-{run}-1_prometheus", f"prixfixe-{run}0-1_prometheus"
    volumes = engine.client().volumes
    for name in (left, another_s):
        volumes.create(name)
    try:
        engine.sweep(run)
        names = {volume.name for volume in volumes.list(filters={"name": f"prixfixe-{run}"})}
        assert names == {another_s}
    finally:
        for name in (left, another_s):
            engine.remove_named(name)
