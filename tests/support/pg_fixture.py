"""The cluster that the tests of a session share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import pg_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cluster", "whole_cluster"]


@pytest.fixture(scope="session")
def whole_cluster() -> Iterator[pg_cluster.Cluster]:
    """A primary and two standbys, made once."""
    with pg_cluster.running() as cluster:
        yield cluster


@pytest.fixture
def cluster(whole_cluster: pg_cluster.Cluster) -> Iterator[pg_cluster.Cluster]:
    """The same, whole again after each test."""
    yield whole_cluster
    whole_cluster.heal()
