"""A walk for each document; what one leaves is swept up by its label."""

import os

import pytest
from docker.errors import DockerException

from tests.container import engine
from tests.docs.walk import taken, walking


@pytest.fixture(scope="session")
def swept():
    """Have an engine, and leave nothing in it."""
    try:
        engine.client()
    except DockerException as error:
        if os.environ.get("CI"):
            pytest.fail(f"no Docker engine answers: {error}")
        pytest.skip(f"no Docker engine answers: {error}")
    run = engine.name_run()
    engine.sweep_dead()
    yield
    engine.sweep(run)
    engine.client().close()


@pytest.fixture
def walk(swept, tmp_path):
    """A newcomer in a clone; see `Walk`."""
    if ports := taken():
        pytest.fail(f"the documents use ports that somebody else has now: {ports}")
    with walking(tmp_path / "prixfixe") as one:
        yield one
