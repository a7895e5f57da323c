"""The promises of `prixfixe.stores.base`, over every technology."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from prixfixe.mail.message import IdSource
from prixfixe.stores.base import StoreError, StoreOpenError
from prixfixe.stores.registry import open_reader, open_store
from prixfixe.testing.store_contract import (
    DiskContract,
    DurableContract,
    StoreContract,
    make,
    opened,
    reading,
)
from tests.support.store_cases import DURABLE, KEEPING, run, url_of


class TestEveryStore(StoreContract):
    @pytest.fixture(params=KEEPING)
    def new_url(self, request):
        return partial(url_of, request.param)


class TestDurableStore(DurableContract, DiskContract):
    @pytest.fixture(params=DURABLE)
    def new_url(self, request):
        return partial(url_of, request.param)


@pytest.fixture(params=DURABLE)
def durable(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, tmp_path)


async def test_links_planted_in_the_folder_harm_nothing(durable, tmp_path):
    async with opened(durable):
        locks = list(tmp_path.rglob("*.lock"))
    (tmp_path / "precious").write_text("precious")
    probes = [each / ".prixfixe-probe" for each in tmp_path.rglob("*") if each.is_dir()]
    for path in [tmp_path / ".prixfixe-probe", *probes]:
        path.symlink_to(tmp_path / "precious")
    async with opened(durable) as store:
        await store.probe()
    (lock,) = locks
    lock.unlink()
    lock.symlink_to(tmp_path / "precious")
    with pytest.raises(StoreOpenError):
        await open_store(durable).open()
    assert (tmp_path / "precious").read_text() == "precious"


async def test_closed_discard_refuses():
    store = open_store("discard:")
    await store.open()
    await store.close()
    await store.close()
    for call in (store.put(make(IdSource())), store.probe()):
        with pytest.raises(StoreError) as caught:
            await call
        assert caught.value.kind == "closed"


async def test_discard_says_yes_and_keeps_nothing():
    async with opened("discard:") as store:
        assert store.put(message := make(IdSource())).done()
        assert await store.delete(None) == 0
        assert await store.probe() == (None, None, None)
        with reading("discard:", store) as reader:
            assert (reader.ids(), reader.get(message.id), reader.totals()) == ((), None, (0, 0))


async def test_second_server_is_refused_with_path_and_holder(durable):
    async with opened(durable):
        lines = run("await open_store(url).open()", durable)
        assert lines[0].startswith("refused store")
        assert durable.partition(":")[2] in lines[0]
        assert "in use by pid" in lines[0]
        with pytest.raises(StoreOpenError, match="in use"):
            await open_store(durable).open()
    assert run("s = open_store(url); await s.open(); await s.close(); say('ok')", durable) == ["ok"]


@pytest.mark.parametrize("url", ["", "sqlite:", "maildir:", "memory:x", "redis:x", "sqlite"])
def test_wrong_url_names_the_forms_that_work(url):
    for function in (open_store, open_reader):
        with pytest.raises(StoreOpenError, match="expected sqlite:PATH"):
            function(url)


@pytest.mark.parametrize("url", ["memory:", "discard:"])
def test_store_in_memory_cannot_be_read_from_outside(url):
    with pytest.raises(StoreOpenError, match="HTTP"):
        open_reader(url)


def test_reading_a_store_that_is_not_there_says_so(durable):
    with pytest.raises(StoreOpenError, match="has a server run"):
        open_reader(durable)
