"""The contract of `prixfixe.stores.base` as tests, for whoever writes a store.

A test class inherits the parts its store promises and has a fixture `new_url`: a function that
returns the URL of a new, empty store, and is given an empty folder that it may use or ignore.
It needs the packages pytest and hypothesis (the extra `testing`), and no plugin of pytest.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prixfixe.mail.message import Envelope, IdSource, Message, Recipient
from prixfixe.stores.base import DiskOptions, Recovery, StoreError, StoreOpenError, StoreOptions
from prixfixe.stores.registry import named, open_reader, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from prixfixe.stores.base import Reader, Store

__all__ = [
    "DiskContract",
    "DurableContract",
    "StoreContract",
    "make",
    "opened",
    "reading",
]

P = ParamSpec("P")

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

ENVELOPE = Envelope(
    sender='"quo\\"ted"@exämple.org',
    recipients=(
        Recipient("jürgen@example.net", (("NOTIFY", "SUCCESS,FAILURE"), ("ORCPT", "rfc822;a+2Bb"))),
        Recipient("b@example.net"),
    ),
    sender_params=(("SIZE", "100"), ("SMTPUTF8", None)),
    peer="[2001:db8::1]:4025",
    helo="client.example",
    protocol="UTF8SMTPSA",
    domain="mx.example.org",
    tls="TLSv1.3 TLS_AES_256_GCM_SHA384",
    user="ann",
)

_texts = st.text(max_size=60)
_params = st.lists(st.tuples(_texts, st.none() | _texts), max_size=3).map(tuple)
_addresses = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=80)
_recipients = st.lists(st.builds(Recipient, _addresses, _params), min_size=1, max_size=40)
_envelopes = st.builds(
    Envelope,
    sender=_addresses,
    recipients=_recipients.map(tuple),
    sender_params=_params,
    peer=st.just("127.0.0.1:25"),
    helo=_addresses,
    tls=st.none() | _texts,
    user=st.none() | _texts,
)
_groups = st.lists(st.tuples(_envelopes, st.binary(max_size=200)), min_size=1, max_size=5)

# Prints the size of a message, and the newest id.
_PROGRAM = """
import sys
from prixfixe.stores.registry import open_reader
reader = open_reader(sys.argv[1])
print(len(reader.get(sys.argv[2]).body), reader.ids()[0])
"""


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an asynchronous test in an event loop of its own."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def make(
    ids: IdSource,
    body: bytes = b"Subject: x\r\n\r\nhello\r\n",
    envelope: Envelope = ENVELOPE,
) -> Message:
    """Return a message with the next id."""
    made, at = ids()
    return Message(made, at, envelope, body)


@contextlib.asynccontextmanager
async def opened(url: str, options: StoreOptions | None = None) -> AsyncIterator[Store]:
    """Open a store, and close it."""
    store = open_store(url, options)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@contextlib.contextmanager
def reading(url: str, store: Store | None = None) -> Iterator[Reader]:
    """Open the store's own reader, or one that knows the URL only; close it."""
    reader = store.open_reader() if store else open_reader(url)
    try:
        yield reader
    finally:
        reader.close()


def _read_elsewhere(url: str, message_id: str) -> str:
    command = [sys.executable, "-c", _PROGRAM, url, message_id]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class _Contract:
    """What the parts share."""

    @pytest.fixture
    def new_url(self) -> Callable[[Path], str]:
        """Return a function from an empty folder to the URL of a new, empty store."""
        raise NotImplementedError("the test class needs a fixture new_url")

    @pytest.fixture
    def url(self, new_url: Callable[[Path], str], tmp_path: Path) -> str:
        """Return the URL of a new, empty store."""
        return new_url(tmp_path)


class StoreContract(_Contract):
    """What every store does that stores mail, also one in memory."""

    @pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
    @in_loop
    async def test_message_is_read_back_exactly(self, url: str, body: bytes) -> None:
        message = make(IdSource(), body)
        async with opened(url) as store:
            await store.put(message)
            with reading(url, store) as reader:
                assert reader.get(message.id) == message

    @in_loop
    async def test_an_id_that_is_no_text_is_no_message(self, url: str) -> None:
        async with opened(url) as store:
            await store.put(make(IdSource()))
            assert await store.delete(["\udcff"]) == 0
            with reading(url, store) as reader:
                assert reader.get("\udcff") is None

    @in_loop
    async def test_ids_come_newest_first_in_slices(self, url: str) -> None:
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

    @in_loop
    async def test_totals_follow_puts_and_deletes(self, url: str) -> None:
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

    @in_loop
    async def test_delete_waits_its_turn_behind_puts(self, url: str) -> None:
        async with opened(url) as store:
            messages = [make(IdSource()) for _ in range(30)]
            futures = [store.put(each) for each in messages]
            assert await store.delete([each.id for each in messages]) == 30
            await asyncio.gather(*futures)

    @pytest.mark.parametrize("limit", [1, 5, 200])
    @in_loop
    async def test_retention_by_count_drops_the_oldest_and_says_so(
        self, url: str, limit: int
    ) -> None:
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

    @in_loop
    async def test_retention_by_age_drops_the_old_and_keeps_the_young(self, url: str) -> None:
        now, pruned = [1_000_000.0], list[int]()
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

    @pytest.mark.parametrize("clock", [lambda: 1e9, iter(range(10**6, 0, -1)).__next__])
    @in_loop
    async def test_ids_of_two_sources_never_meet_whatever_the_clock(
        self, url: str, clock: Callable[[], float]
    ) -> None:
        sources = IdSource(clock), IdSource(clock)
        messages = [make(sources[turn % 2]) for turn in range(100)]
        async with opened(url) as store:
            await asyncio.gather(*map(store.put, messages))
            with reading(url, store) as reader:
                assert set(reader.ids()) == {each.id for each in messages}

    @in_loop
    async def test_taken_id_fails_alone_in_its_group(self, url: str) -> None:
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

    @in_loop
    async def test_closed_store_refuses(self, url: str) -> None:
        store = open_store(url)
        await store.open()
        await store.close()
        await store.close()
        for call in (store.put(make(IdSource())), store.probe()):
            with pytest.raises(StoreError) as caught:
                await call
            assert caught.value.kind == "closed"


class DurableContract(_Contract):
    """What a store does besides that outlives its process."""

    def test_any_envelope_and_body_survive_a_round_trip(
        self, new_url: Callable[[Path], str]
    ) -> None:
        async def stored(url: str, messages: list[Message]) -> list[Message | None]:
            async with opened(url) as store:
                await asyncio.gather(*map(store.put, messages))
                with reading(url) as reader:
                    return [reader.get(each.id) for each in messages]

        @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
        @given(group=_groups)
        def round_trip(group: list[tuple[Envelope, bytes]]) -> None:
            ids = IdSource()
            messages = [make(ids, body, envelope) for envelope, body in group]
            with tempfile.TemporaryDirectory() as folder:
                assert asyncio.run(stored(new_url(Path(folder)), messages)) == messages

        round_trip()

    @in_loop
    async def test_retention_counts_what_earlier_runs_kept(self, url: str) -> None:
        ids = IdSource()
        old = [make(ids) for _ in range(10)]
        async with opened(url) as store:
            await asyncio.gather(*map(store.put, old))
        async with opened(url, StoreOptions(max_messages=3)) as store:
            await store.put(newest := make(ids))
            with reading(url) as reader:
                assert list(reader.ids()) == [newest.id, old[-1].id, old[-2].id]

    @in_loop
    async def test_second_server_is_refused_unless_the_store_is_shared(self, url: str) -> None:
        if named(url).technology.is_shared:
            pytest.skip("several servers may use this store")
        async with opened(url):
            with pytest.raises(StoreOpenError):
                await open_store(url).open()
        async with opened(url):
            pass

    @in_loop
    async def test_reader_in_another_process_sees_every_acknowledged_message(
        self, url: str
    ) -> None:
        ids = IdSource()
        async with opened(url) as store:
            for size in (1, 500, 3 << 20):
                await store.put(message := make(ids, b"x" * size))
                told = await asyncio.to_thread(_read_elsewhere, url, message.id)
                assert told == f"{size} {message.id}"

    def test_reading_a_store_that_is_not_there_says_so(self, url: str) -> None:
        with pytest.raises(StoreOpenError):
            open_reader(url)

    @in_loop
    async def test_kept_message_survives_reopening(self, url: str) -> None:
        messages = [make(IdSource(), body) for body in BODIES.values()]
        async with opened(url) as store:
            await asyncio.gather(*map(store.put, messages))
        async with opened(url):
            with reading(url) as reader:
                assert [reader.get(each.id) for each in messages] == messages

    @in_loop
    async def test_message_that_cannot_be_written_fails_alone_in_its_group(self, url: str) -> None:
        ids = IdSource()
        bad = make(ids)._replace(envelope=Envelope("a", object()))  # type: ignore[arg-type]
        good = [make(ids) for _ in range(4)]
        async with opened(url) as store:
            results = await asyncio.gather(*map(store.put, [bad, *good]), return_exceptions=True)
            assert [getattr(each, "kind", each) for each in results] == ["internal", *[None] * 4]
            with reading(url) as reader:
                assert reader.totals().messages == 4

    @in_loop
    async def test_cancelled_caller_does_not_break_its_group(self, url: str) -> None:
        messages = [make(IdSource()) for _ in range(20)]
        async with opened(url) as store:
            futures = [store.put(each) for each in messages]
            for future in futures[::2]:
                future.cancel()
            await asyncio.gather(*futures[1::2])
            with reading(url) as reader:
                assert reader.totals().messages == 20

    @in_loop
    async def test_close_keeps_what_was_put(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "prixfixe.stores.group_commit.CLOSE_SECONDS", 100
        )  # of 300 syncs, on a busy disk
        messages = [make(IdSource()) for _ in range(300)]
        async with opened(url) as store:
            futures = [store.put(each) for each in messages]
        assert all(future.done() and future.exception() is None for future in futures)
        with reading(url) as reader:
            assert reader.totals().messages == 300

    @in_loop
    async def test_operations_are_reported_with_their_result(self, url: str) -> None:
        seen: list[tuple[str, str]] = []
        options = StoreOptions(on_operation=lambda op, _seconds, result: seen.append((op, result)))
        async with opened(url, options) as store:
            await store.put(message := make(IdSource()))
            with pytest.raises(StoreError):
                await store.put(message)
            await store.probe()
            await store.delete(None)
        expected = {("open", "ok"), ("commit", "ok"), ("commit", "conflict"), ("probe", "ok")}
        assert expected | {("delete", "ok"), ("close", "ok")} <= set(seen)

    @in_loop
    async def test_clean_stop_leaves_nothing_to_recover(self, url: str) -> None:
        async with opened(url) as store:
            await store.put(make(IdSource()))
        again = open_store(url)
        assert await again.open() == Recovery()
        await again.close()

    @in_loop
    async def test_reading_goes_on_while_another_thread_writes(self, url: str) -> None:
        messages = [make(IdSource(), b"x" * 5000) for _ in range(400)]
        async with opened(url) as store:
            await store.put(messages[0])

            def read_all() -> int:
                with reading(url) as reader:
                    rounds = 0
                    while reader.totals().messages < len(messages):
                        newest = map(reader.get, reader.ids(0, 20))
                        assert all(each and len(each.body) == 5000 for each in newest)
                        rounds += 1
                return rounds

            reader = asyncio.create_task(asyncio.to_thread(read_all))
            await asyncio.gather(*map(store.put, messages[1:]))
            await reader


class DiskContract(_Contract):
    """What a durable store does besides that reads `StoreOptions.disk`."""

    @in_loop
    async def test_probe_tells_free_space_and_refuses_below_the_reserve(self, url: str) -> None:
        async with opened(url) as store:
            assert ((await store.probe()).free_bytes or 0) > 0
        async with opened(url, StoreOptions(disk=DiskOptions(1 << 60))) as store:
            for call in (store.probe(), store.put(make(IdSource()))):
                with pytest.raises(StoreError) as caught:
                    await call
                assert caught.value.is_full
