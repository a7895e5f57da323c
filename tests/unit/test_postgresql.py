"""The store `postgresql` on a real cluster: the contract, and what is only here."""

from __future__ import annotations

import pytest

from prixfixe.testing.store_contract import DurableContract, StoreContract
from tests.support.pg_fixture import cluster, whole_cluster  # noqa: F401 - fixtures


class TestPostgresql(StoreContract, DurableContract):
    @pytest.fixture
    def new_url(self, whole_cluster):  # noqa: F811
        return lambda _folder: whole_cluster.new_url()
