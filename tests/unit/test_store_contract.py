"""The promises of `prixfixe.stores.base`, over every technology."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prixfixe.mail.message import Envelope, IdSource, Message, Recipient
from prixfixe.stores.base import DiskOptions, Recovery, StoreError, StoreOpenError, StoreOptions
from prixfixe.stores.registry import open_reader, open_store
from tests.support.store_cases import DURABLE, KEEPING, make, opened, reading, run, url_of

BODIES = {
    "empty": b"",
    "nul": b"a\0b\0",
    "eight bit": bytes(range(256)),
    "no final newline": b"Subject: x\r\n\r\nend",
    "bare cr and lf": b"a\rb\nc\n\r",
    "begins like a fold": b" folded\r\n\tmore\r\n",
    "begins like our field": b"X-PrixFixe-Envelope: 3 00000000 {}\r\n",
    "just below piecewise": b"x" * (1 << 20),
    "above piecewise": bytes(range(256)) * 4097,
    "9 MiB": b"0123456789abcde\n" * (9 << 16),
}


@pytest.fixture(params=KEEPING)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, tmp_path)


@pytest.fixture(params=DURABLE)
def durable(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, tmp_path)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_message_is_read_back_exactly(url, body):
    message = make(IdSource(), body)
    async with opened(url) as store:
        await store.put(message)
        with reading(url, store) as reader:
            assert reader.get(message.id) == message


async def test_kept_message_survives_reopening(durable):
    messages = [make(IdSource(), body) for body in BODIES.values()]
    async with opened(durable) as store:
        await asyncio.gather(*map(store.put, messages))
    async with opened(durable):
        with reading(durable) as reader:
            assert [reader.get(each.id) for each in messages] == messages


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


async def test_an_id_that_is_no_text_is_no_message(url):
    async with opened(url) as store:
        await store.put(make(IdSource()))
        assert await store.delete(["\udcff"]) == 0
        with reading(url, store) as reader:
            assert reader.get("\udcff") is None


texts = st.text(max_size=60)
params = st.lists(st.tuples(texts, st.none() | texts), max_size=3).map(tuple)
addresses = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=80)
envelopes = st.builds(
    Envelope,
    sender=addresses,
    recipients=st.lists(st.builds(Recipient, addresses, params), min_size=1, max_size=40).map(
        tuple
    ),
    sender_params=params,
    peer=st.just("127.0.0.1:25"),
    helo=addresses,
    tls=st.none() | texts,
    user=st.none() | texts,
)


@pytest.mark.parametrize("technology", DURABLE)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(group=st.lists(st.tuples(envelopes, st.binary(max_size=200)), min_size=1, max_size=5))
def test_any_envelope_and_body_survive_a_round_trip(technology, group):
    ids = IdSource()
    messages = [make(ids, body, envelope) for envelope, body in group]

    async def keep(url: str) -> list[Message | None]:
        async with opened(url) as store:
            await asyncio.gather(*map(store.put, messages))
            with reading(url) as reader:
                return [reader.get(each.id) for each in messages]

    with tempfile.TemporaryDirectory() as folder:
        assert asyncio.run(keep(url_of(technology, Path(folder)))) == messages


async def test_ids_come_newest_first_in_slices(url):
    ids = IdSource()
    messages = [make(ids) for _ in range(7)]
    newest = [each.id for each in reversed(messages)]
    async with opened(url) as store:
        for message in messages:
            await store.put(message)
        with reading(url, store) as reader:
            assert list(reader.ids()) == newest
            assert list(reader.ids(2, 3)) == newest[2:5]
            assert list(reader.ids(6, 10)) == newest[6:]
            assert list(reader.ids(7)) == []
            assert reader.get("nothing") is None


async def test_totals_follow_puts_and_deletes(url):
    ids = IdSource()
    messages = [make(ids, b"x" * size) for size in (1, 10, 100)]
    async with opened(url) as store:
        await asyncio.gather(*map(store.put, messages))
        with reading(url, store) as reader:
            assert reader.totals() == (3, 111)
            assert await store.delete([messages[1].id, messages[1].id, "unknown"]) == 1
            assert reader.totals() == (2, 101)
            assert reader.get(messages[1].id) is None
            assert await store.delete(None) == 2
            assert reader.totals() == (0, 0)
            assert await store.delete(None) == 0


async def test_delete_waits_its_turn_behind_puts(url):
    async with opened(url) as store:
        messages = [make(IdSource()) for _ in range(30)]
        futures = [store.put(each) for each in messages]
        assert await store.delete([each.id for each in messages]) == 30
        await asyncio.gather(*futures)


@pytest.mark.parametrize("limit", [1, 5, 200])
async def test_retention_by_count_drops_the_oldest_and_says_so(url, limit):
    pruned: list[int] = []
    ids = IdSource()
    messages = [make(ids) for _ in range(220)]
    options = StoreOptions(max_messages=limit, on_pruned=pruned.append)
    async with opened(url, options) as store:
        await asyncio.gather(*map(store.put, messages))
        with reading(url, store) as reader:
            assert list(reader.ids()) == [each.id for each in reversed(messages[-limit:])]
            assert reader.totals().messages == limit
    assert sum(pruned) == 220 - limit


async def test_retention_by_age_drops_the_old_and_keeps_the_young(url):
    now, pruned = [1_000_000.0], []
    ids = IdSource(lambda: now[0])
    options = StoreOptions(max_age=60, clock=lambda: now[0], on_pruned=pruned.append)
    async with opened(url, options) as store:
        await store.put(make(ids))
        now[0] += 50
        await store.put(young := make(ids))
        now[0] += 15
        await store.put(newest := make(ids))
        with reading(url, store) as reader:
            assert list(reader.ids()) == [newest.id, young.id]
    assert pruned == [1]


@pytest.mark.parametrize("technology", DURABLE)
async def test_retention_counts_what_earlier_runs_kept(technology, tmp_path):
    url, ids = url_of(technology, tmp_path), IdSource()
    old = [make(ids) for _ in range(10)]
    async with opened(url) as store:
        await asyncio.gather(*map(store.put, old))
    async with opened(url, StoreOptions(max_messages=3)) as store:
        await store.put(newest := make(ids))
        with reading(url) as reader:
            assert list(reader.ids()) == [newest.id, old[-1].id, old[-2].id]


@pytest.mark.parametrize("clock", [lambda: 1e9, iter(range(10**6, 0, -1)).__next__])
async def test_ids_of_two_sources_never_meet_whatever_the_clock(url, clock):
    sources = IdSource(clock), IdSource(clock)
    messages = [make(sources[turn % 2]) for turn in range(100)]
    async with opened(url) as store:
        await asyncio.gather(*map(store.put, messages))
        with reading(url, store) as reader:
            assert set(reader.ids()) == {each.id for each in messages}


async def test_taken_id_fails_alone_in_its_group(url):
    ids = IdSource()
    first = make(ids)
    async with opened(url) as store:
        await store.put(first)
        fresh = [make(ids) for _ in range(5)]
        group = [*fresh[:3], first._replace(body=first.body.upper()), *fresh[3:]]
        results = await asyncio.gather(*map(store.put, group), return_exceptions=True)
        assert [getattr(each, "kind", each) for each in results] == [
            *[None] * 3,
            "conflict",
            *[None] * 2,
        ]
        with reading(url, store) as reader:
            assert reader.get(first.id) == first
            assert reader.totals().messages == 6


async def test_message_that_cannot_be_written_fails_alone_in_its_group(durable):
    ids = IdSource()
    bad = make(ids)._replace(envelope=Envelope("a", object()))  # type: ignore[arg-type]
    good = [make(ids) for _ in range(4)]
    async with opened(durable) as store:
        results = await asyncio.gather(*map(store.put, [bad, *good]), return_exceptions=True)
        assert [getattr(each, "kind", each) for each in results] == ["internal", *[None] * 4]
        with reading(durable) as reader:
            assert reader.totals().messages == 4


async def test_cancelled_caller_does_not_break_its_group(durable):
    messages = [make(IdSource()) for _ in range(20)]
    async with opened(durable) as store:
        futures = [store.put(each) for each in messages]
        for future in futures[::2]:
            future.cancel()
        await asyncio.gather(*futures[1::2])
        with reading(durable) as reader:
            assert reader.totals().messages == 20


async def test_close_keeps_what_was_put(durable, monkeypatch):
    monkeypatch.setattr(
        "prixfixe.stores.group_commit.CLOSE_SECONDS", 100
    )  # of 300 syncs, on a busy disk
    messages = [make(IdSource()) for _ in range(300)]
    async with opened(durable) as store:
        futures = [store.put(each) for each in messages]
    assert all(future.done() and future.exception() is None for future in futures)
    with reading(durable) as reader:
        assert reader.totals().messages == 300


@pytest.mark.parametrize("technology", [*KEEPING, "discard"])
async def test_closed_store_refuses(technology, tmp_path):
    store = open_store(url_of(technology, tmp_path))
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


async def test_probe_tells_free_space_and_refuses_below_the_reserve(durable):
    async with opened(durable) as store:
        assert (await store.probe()).free_bytes > 0
    async with opened(durable, StoreOptions(disk=DiskOptions(1 << 60))) as store:
        for call in (store.probe(), store.put(make(IdSource()))):
            with pytest.raises(StoreError) as caught:
                await call
            assert caught.value.is_full


async def test_operations_are_reported_with_their_result(durable):
    seen: list[tuple[str, str]] = []
    options = StoreOptions(on_operation=lambda op, seconds, result: seen.append((op, result)))
    async with opened(durable, options) as store:
        await store.put(message := make(IdSource()))
        with pytest.raises(StoreError):
            await store.put(message)
        await store.probe()
        await store.delete(None)
    expected = {("open", "ok"), ("commit", "ok"), ("commit", "conflict"), ("probe", "ok")}
    assert expected | {("delete", "ok"), ("close", "ok")} <= set(seen)


async def test_clean_stop_leaves_nothing_to_recover(durable):
    async with opened(durable) as store:
        await store.put(make(IdSource()))
    again = open_store(durable)
    assert await again.open() == Recovery()
    await again.close()


async def test_second_server_is_refused_with_path_and_holder(durable):
    async with opened(durable):
        lines = run("await open_store(url).open()", durable)
        assert lines[0].startswith("refused store")
        assert durable.partition(":")[2] in lines[0]
        assert "in use by pid" in lines[0]
        with pytest.raises(StoreOpenError, match="in use"):
            await open_store(durable).open()
    assert run("s = open_store(url); await s.open(); await s.close(); say('ok')", durable) == ["ok"]


async def test_reader_in_another_process_sees_every_acknowledged_message(durable):
    ids = IdSource()
    async with opened(durable) as store:
        for size in (1, 500, 3 << 20):
            await store.put(message := make(ids, b"x" * size))
            wanted = (
                f"r = open_reader(url); m = r.get('{message.id}'); say(len(m.body), r.ids()[0])"
            )
            assert await asyncio.to_thread(run, wanted, durable) == [f"{size} {message.id}"]


async def test_reading_goes_on_while_another_thread_writes(durable):
    messages = [make(IdSource(), b"x" * 5000) for _ in range(400)]
    async with opened(durable) as store:
        await store.put(messages[0])

        def read_all() -> int:
            with reading(durable) as reader:
                rounds = 0
                while reader.totals().messages < len(messages):
                    assert all(len(reader.get(each).body) == 5000 for each in reader.ids(0, 20))
                    rounds += 1
            return rounds

        reader = asyncio.create_task(asyncio.to_thread(read_all))
        await asyncio.gather(*map(store.put, messages[1:]))
        await reader


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
