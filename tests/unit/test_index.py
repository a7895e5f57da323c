"""The index: the same answers as a slow look at all mail, whatever happens to store and file."""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prixfixe.http.api.mailpit import described
from prixfixe.mail.folding import fold
from prixfixe.mail.message import Envelope, IdSource, Message, Recipient
from prixfixe.mail.query import QueryError, parse_query
from prixfixe.stores.base import StoreOptions
from prixfixe.stores.index import (
    Index,
    IndexOptions,
    SearchGivenUpError,
    catalog,
    file,
    follower,
    packing,
    plan,
    search,
)
from prixfixe.stores.index.file import IndexFile
from prixfixe.stores.registry import index_path, open_store
from tests.conftest import PATIENCE
from tests.support.store_cases import KEEPING, url_of

VERSION = "test"


def mail(ids, *, subject="x", body="hello", to="b@y.test", sender="a@x.test", cc="", more=()):
    made, at = ids()
    letter = EmailMessage()
    letter["From"], letter["To"] = f"Alice <{sender}>", f"Bob <{to}>"
    if cc:
        letter["Cc"] = cc
    letter["Subject"] = subject
    letter["Message-ID"] = f"<{made}@x.test>"
    letter.set_content(body)
    for name in more:
        letter.add_attachment(b"x", maintype="application", subtype="x", filename=name)
    content = letter.as_bytes(policy=letter.policy.clone(linesep="\r\n"))
    return Message(made, at, Envelope(sender, (Recipient(to), Recipient("hidden@z.test"))), content)


class Rig:
    """A store and its index."""

    def __init__(self, url, options=None, **more):
        self.url, self.ids = url, IdSource()
        options = options or StoreOptions()
        options = replace(options, on_pruned=lambda _count: self.index.changed())
        self.store = open_store(url, options)
        self.said = []
        self._more = more
        self.make()

    def make(self):
        self.index = Index(
            IndexOptions(
                open_reader=self.store.open_reader,
                describe=described,
                version=self._more.get("version", VERSION),
                path=index_path(self.url),
                min_free=self._more.get("min_free", 0),
                say=lambda event, **fields: self.said.append((event, fields)),
            )
        )

    async def keep(self, **fields):
        message = mail(self.ids, **fields)
        await self.store.put(message)
        self.index.arrived(message)
        return message.id

    async def delete(self, ids):
        await self.store.delete(ids)
        self.index.changed()

    async def search(self, query, start=0, limit=1000):
        assert await self.index.in_step(PATIENCE), (self.said, self.index.progress)
        reader = self.index.reading()
        try:
            return reader.search(parse_query(query), start, limit)
        finally:
            reader.close()

    async def found(self, query):
        return [one.id for one in (await self.search(query))[0]]

    async def listed(self):
        assert await self.index.in_step(PATIENCE)
        reader = self.index.reading()
        try:
            return [one.id for one in reader.page(0, 10_000)]
        finally:
            reader.close()


@contextlib.asynccontextmanager
async def rigged(technology, folder, options=None, **more):
    rig = Rig(url_of(technology, folder), options, **more)
    await rig.store.open()
    rig.index.start()
    try:
        yield rig
    finally:
        await rig.index.close()
        await rig.store.close()


@pytest.fixture(params=KEEPING)
async def rig(request, tmp_path):
    async with rigged(request.param, tmp_path) as rig:
        yield rig


async def test_what_is_kept_is_found_at_once(rig):
    first = await rig.keep(subject="Grüße aus Köln", body="Straße und Weg")
    assert await rig.found("STRASSE") == [first]
    second = await rig.keep(subject="other", to="c@y.test")
    assert await rig.found("to:c@y.test") == [second]
    assert await rig.found("from:alice") == [second, first]
    assert await rig.found("-weg") == [second]
    assert await rig.listed() == [second, first]


async def test_what_is_deleted_is_found_no_more(rig):
    kept = [await rig.keep(subject=f"number {n}") for n in range(20)]
    assert await rig.found("number") == kept[::-1]
    await rig.delete(kept[3:5])
    assert await rig.found("number") == (kept[:3] + kept[5:])[::-1]
    await rig.delete(kept[19:])
    assert await rig.found("number") == (kept[:3] + kept[5:19])[::-1]
    again = await rig.keep(subject="number 20")
    assert await rig.found("number") == [again, *(kept[:3] + kept[5:19])[::-1]]
    await rig.delete(None)
    assert await rig.found("number") == []
    last = await rig.keep(subject="number 21")
    assert await rig.found("number") == await rig.listed() == [last]


@pytest.mark.parametrize("technology", KEEPING)
async def test_retention_takes_messages_out(technology, tmp_path):
    async with rigged(technology, tmp_path, StoreOptions(max_messages=5)) as rig:
        kept = [await rig.keep(subject=f"number {n}") for n in range(5)]
        assert await rig.found("number") == kept[::-1]
        kept += [await rig.keep(subject=f"number {n}") for n in range(12)]
        with contextlib.closing(rig.store.open_reader()) as reader:
            there = list(reader.ids())
        assert await rig.found("number") == there == kept[: -len(there) - 1 : -1]


async def test_a_start_takes_what_is_missing_and_keeps_what_is_there(rig):
    kept = [await rig.keep(subject=f"number {n}") for n in range(3)]
    assert await rig.index.ask(lambda catalog: catalog.mark(kept[:1], is_read=True)) == 1
    await rig.index.close()
    more = mail(rig.ids, subject="number 3")
    await rig.store.put(more)
    await rig.delete(kept[1:2])
    rig.make()
    rig.index.start()
    assert await rig.found("number") == [more.id, kept[2], kept[0]]
    expected = [] if rig.url == "memory:" else kept[:1]
    assert await rig.found("is:read") == expected


@pytest.mark.parametrize("technology", ["sqlite", "maildir"])
@pytest.mark.parametrize("damage", ["none", "text", "version", "middle", "schema"])
async def test_a_damaged_or_old_index_is_built_again(technology, tmp_path, damage):
    async with rigged(technology, tmp_path) as rig:
        kept = [await rig.keep(subject=f"number {n}") for n in range(30)]
        assert await rig.found("number") == kept[::-1]
        await rig.index.close()
        path = index_path(rig.url)
        _DAMAGES[damage](path)
        rig._more["version"] = "other" if damage == "version" else VERSION
        rig.make()
        rig.index.start()
        assert await rig.found("number") == kept[::-1]
        events = [event for event, _ in rig.said]
        assert events == (["index rebuilt"] if damage != "none" else []), rig.said


def _spoil_middle(path):
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(os.urandom(size - 4096 * 2))


def _spoil_schema(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE record")


_DAMAGES = {
    "none": lambda _path: None,
    "version": lambda _path: None,
    "text": lambda path: path.write_text("no database " * 1000),
    "middle": _spoil_middle,
    "schema": _spoil_schema,
}


async def test_an_index_that_is_gone_is_built_again(tmp_path):
    async with rigged("sqlite", tmp_path) as rig:
        kept = await rig.keep()
        assert await rig.found("hello") == [kept]
        await rig.index.close()
        index_path(rig.url).unlink()
        rig.make()
        rig.index.start()
        assert await rig.found("hello") == [kept]


async def test_a_copy_that_is_put_back_is_seen_though_it_is_as_long_and_ends_the_same(tmp_path):
    async with rigged("sqlite", tmp_path) as rig:
        kept = [await rig.keep(subject=f"number {n}") for n in range(4)]
        database = Path(rig.url.partition(":")[2])
        await rig.store.delete(kept[:1])
        assert await rig.found("number") == kept[:0:-1]
        await rig.index.close()
        with contextlib.closing(sqlite3.connect(database)) as db:
            row = db.execute("SELECT * FROM message WHERE id = ?", kept[1:2]).fetchone()
            db.execute("DELETE FROM message WHERE id = ?", kept[1:2])
            db.execute("INSERT INTO message VALUES(?,?,?,?,?,?,?)", (1, kept[0], *row[2:]))
            db.commit()
        rig.make()
        rig.index.start()
        assert await rig.listed() == [kept[3], kept[2]]  # the other is there, and damaged


async def test_what_other_programs_do_in_a_maildir_is_seen(tmp_path):
    async with rigged("maildir", tmp_path) as rig:
        kept = [await rig.keep(subject=f"number {n}") for n in range(4)]
        assert await rig.found("number") == kept[::-1]
        root = Path(rig.url.partition(":")[2])
        files = {one.name.split(".")[1]: one for one in (root / "new").iterdir()}
        files[kept[0]].unlink()
        moved = files[kept[1]].rename(root / "cur" / (files[kept[1]].name + ":2,S"))
        async with asyncio.timeout(PATIENCE):
            while await rig.found("number") != kept[:0:-1]:
                await asyncio.sleep(0.01)
        moved.unlink()
        async with asyncio.timeout(PATIENCE):
            while await rig.found("number") != kept[:1:-1]:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(("min_free", "spare"), [(1, "SPARE_BYTES"), (0, "LEAST_BYTES")])
async def test_it_gives_way_when_room_is_short(tmp_path, monkeypatch, min_free, spare):
    async with rigged("sqlite", tmp_path, min_free=min_free) as rig:
        kept = await rig.keep()
        assert await rig.found("hello") == [kept]
        monkeypatch.setattr(f"prixfixe.stores.index.follower.{spare}", 1 << 62)
        monkeypatch.setattr("prixfixe.stores.index.follower.RETRY_SECONDS", 0.01)
        await rig.keep()
        assert not await rig.index.in_step(PATIENCE)
        assert rig.index.progress.trouble == "no room"
        assert [event for event, _ in rig.said] == ["index stopped"]
        monkeypatch.setattr(f"prixfixe.stores.index.follower.{spare}", 0)
        async with asyncio.timeout(PATIENCE):
            while not await rig.index.in_step(PATIENCE):
                await asyncio.sleep(0.01)
        assert len(await rig.found("hello")) == 2


async def test_trouble_is_over_though_mail_comes_too_fast_to_go_on(tmp_path, monkeypatch):
    async with rigged("sqlite", tmp_path, min_free=1) as rig:
        monkeypatch.setattr("prixfixe.stores.index.follower.SPARE_BYTES", 1 << 62)
        monkeypatch.setattr("prixfixe.stores.index.follower.RETRY_SECONDS", 0.01)
        await rig.keep()
        assert not await rig.index.in_step(PATIENCE)
        monkeypatch.setattr(follower._Busy, "is_busy", lambda *_: True)
        monkeypatch.setattr("prixfixe.stores.index.follower.SPARE_BYTES", 0)
        async with asyncio.timeout(PATIENCE):
            while rig.index.progress.trouble:
                await asyncio.sleep(0.01)


async def test_a_damaged_message_hides_no_other(tmp_path):
    async with rigged("sqlite", tmp_path) as rig:
        await rig.index.close()
        kept = [await rig.keep(subject=f"number {n}") for n in range(3)]
        with contextlib.closing(sqlite3.connect(rig.url.partition(":")[2])) as db:
            db.execute("UPDATE message SET crc = crc + 1 WHERE id = ?", kept[1:2])
            db.commit()
        rig.make()
        rig.index.start()
        assert await rig.found("number") == [kept[2], kept[0]]
        more = await rig.keep(subject="number 3")
        assert await rig.found("number") == [more, kept[2], kept[0]]


async def test_read_state_and_tags(rig):
    one, two = await rig.keep(), await rig.keep()
    await rig.index.ask(lambda catalog: catalog.mark([one], is_read=True))
    await rig.index.ask(lambda catalog: catalog.tag([two], ["Blue", "Straße"]))
    assert await rig.found("is:read") == [one]
    assert await rig.found("is:unread") == [two]
    assert await rig.found("tag:blue") == await rig.found("tag:STRASSE") == [two]
    assert await rig.found("tag:blu") == []
    assert await rig.found("-is:tagged") == [one]
    page, counts = await rig.search("hello")
    assert [(each.is_read, each.tags) for each in page] == [(False, ("Blue", "Straße")), (True, ())]
    assert counts == (2, 1)
    await rig.index.ask(lambda catalog: catalog.retag("BLUE", "Red"))
    assert await rig.found("tag:red") == [two]
    await rig.index.ask(lambda catalog: catalog.retag("red", None))
    assert await rig.found("tag:red") == []


async def test_a_search_is_given_up(rig):
    for _ in range(300):
        await rig.keep(body="many words here")
    assert await rig.index.in_step(PATIENCE)
    reader = rig.index.reading()
    query = parse_query("wo")
    reader.give_up()
    with pytest.raises(SearchGivenUpError):
        reader.search(query, 0, 10)
    reader.begin()
    assert reader.search(query, 0, 10)[1].messages == 300
    reader.close()


async def test_words_are_found_before_and_after_they_are_fed(rig):
    kept = [await rig.keep(body=f"alpha{n} beta") for n in range(300)]
    before = await rig.found("alpha29")
    async with asyncio.timeout(PATIENCE):
        while rig.index.progress.unfed:
            await asyncio.sleep(0.01)
    assert await rig.found("alpha29") == before == [*kept[299:289:-1], kept[29]]
    await rig.delete(kept[290:])
    assert await rig.found("alpha29") == [kept[29]]
    async with asyncio.timeout(PATIENCE):
        while await rig.index.ask(
            lambda c: c._db.execute("SELECT count(*) FROM gone").fetchone()[0]
        ):
            await asyncio.sleep(0.01)
    assert await rig.found("alpha29") == [kept[29]]


async def test_grams_that_are_not_in_one_place_are_no_match(rig):
    await rig.keep(body="abc bcd\n\nth\nxe ye")
    right = await rig.keep(body="xabcd the")
    for _ in range(2):  # before and after the words are fed
        assert await rig.found("abcd") == await rig.found("the") == [right]
        assert len(await rig.found("-abcd")) == len(await rig.found('"x y" -abcd e')) + 1 == 1
        async with asyncio.timeout(PATIENCE):
            while rig.index.progress.unfed:
                await asyncio.sleep(0.01)


async def test_a_word_that_comes_again_is_one_token_and_leaves_with_its_messages(rig):
    def tokens(text):
        sql = "SELECT count(*) FROM words WHERE words MATCH ?"
        return rig.index.ask(lambda catalog: catalog._db.execute(sql, (f'"{text}"',)).fetchone()[0])

    kept = []
    for _ in range(4):
        kept.append(await rig.keep(body="strawberry", subject="x"))
        await rig.index.ask(lambda catalog: catalog.feed(1, lambda: True))
    assert (await tokens("strawberry"), await tokens("awb")) == (2, 2)
    assert await rig.found("strawberry") == await rig.found("awber") == kept[::-1]
    assert await rig.found("-awber") == await rig.found("awbery") == []
    await rig.delete([kept[0], kept[3]])
    assert await rig.found("awber") == kept[2:0:-1]
    await rig.index.ask(lambda catalog: catalog.purge(10))
    assert (await tokens("strawberry"), await tokens("awb")) == (1, 1)


@pytest.mark.parametrize("most", [0, 1])
async def test_a_piece_of_more_words_than_are_asked_for(rig, monkeypatch, most):
    monkeypatch.setattr(plan, "_MOST", most)
    monkeypatch.setattr(plan, "_FIRST", most)
    kept = []
    for number in range(6):
        kept.append(await rig.keep(body=f"berries blueberry blackberry {'none' * (number % 2)}"))
        await rig.index.ask(lambda catalog: catalog.feed(1, lambda: True))
    none = await rig.keep(body="apple")
    for piece in ("berr", "err", "rr"):
        assert await rig.found(f"{piece} blue") == kept[::-1]
        assert await rig.found(f"-{piece}") == [none]
    assert await rig.found("-blue") == await rig.found("-berr") == [none]
    assert await rig.found("berry -none") == kept[4::-2]


# --- the same answers as a slow look

ODD = ["a", "ä", "Ä", "ß", "ss", "σ", "ς", "Σ", "ﬁ", "İ", "ı", "%", "_", "*", "\\", '"', "'", "^"]
ODD += [
    "\0",
    "\1",
    "😀",
    "e\u0301",
    "\u0345",
    "中",
    "-",
    "!",
    ":",
    "(",
    ")",
    "AND",
    "NEAR",
    " ",
    "\t",
    ".",
]
LETTERS = st.sampled_from([*ODD, "b", "c", "to", "the", "x@y.test", "words", " words "])
PIECES = st.lists(LETTERS, min_size=1, max_size=6).map("".join)
BODIES = st.lists(LETTERS, max_size=40).map("".join)
MAILS = st.fixed_dictionaries(
    {
        "subject": st.text("abäßΣσς%_*'\"x ", max_size=12),
        "body": BODIES,
        "to": st.sampled_from(["b@y.test", "bob@z.test", "x@y.test", "ab@aa.test"]),
        "cc": st.sampled_from(["", "Carol <c@y.test>", "äb <d@x.test>"]),
        "more": st.sampled_from([(), ("a.bin",), ("äb.pdf", "x.txt")]),
    }
)
_FIXED = ["is:read", "is:unread", "is:tagged", "has:attachment", "has:inline", "tag:blue", "tag:äb"]
_FIXED += ["larger:400", "smaller:600", "before:2100-01-01", "after:2100-01-01", "addressed:b@y"]
_NAMES = ["", "to:", "from:", "cc:", "bcc:", "reply-to:", "subject:", "message-id:", "addressed:"]


@st.composite
def terms(draw):
    negation = draw(st.sampled_from(["", "", "-", "!"]))
    if draw(st.integers(0, 3)) == 0:
        return negation + draw(st.sampled_from(_FIXED))
    value = draw(PIECES).replace('"', "")
    return f'{negation}{draw(st.sampled_from(_NAMES))}"{value}"'


def slow(messages, query, read, tagged):
    found = []
    for message in reversed(messages):
        seen = described(message).text._replace(
            is_read=message.id in read, tags=tagged.get(message.id, ())
        )
        if query.matches(seen):
            found.append(message.id)
    return found


@pytest.fixture(params=[packing.MAX_TOKENS, 40], ids=["fed", "too large to be fed"])
def bound(request, monkeypatch):
    monkeypatch.setattr(packing, "MAX_TOKENS", request.param)


@pytest.fixture(params=[0, 2000], ids=["counted in words", "collected"])
def least(request, monkeypatch):
    monkeypatch.setattr(search, "_LEAST", request.param)


@pytest.mark.usefixtures("bound", "least")
@pytest.mark.parametrize("technology", KEEPING)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    mails=st.lists(MAILS, min_size=1, max_size=8),
    queries=st.lists(
        st.lists(terms(), min_size=1, max_size=3).map(" ".join), min_size=4, max_size=12
    ),
    feed=st.integers(0, 8),
    gone=st.integers(0, 7),
    start=st.integers(0, 3),
    limit=st.integers(0, 3) | st.just(1000),
)
def test_the_same_answers_as_a_slow_look(
    technology, tmp_path_factory, mails, queries, feed, gone, start, limit
):
    folder, page = tmp_path_factory.mktemp("x"), slice(start, start + limit)
    asyncio.run(_same_answers(technology, folder, mails, queries, feed, gone, page))


async def _same_answers(technology, folder, mails, queries, feed, gone, part):
    async with rigged(technology, folder) as rig:
        messages = [mail(rig.ids, **_sendable(fields)) for fields in mails]
        for message in messages:
            await rig.store.put(message)
            rig.index.arrived(message)
        read = {message.id for message in messages[::3]}
        tagged = {message.id: ("Blue", "Äb") for message in messages[::2]}
        await rig.index.ask(lambda catalog: catalog.mark(list(read), is_read=True))
        await rig.index.ask(lambda catalog: catalog.tag(list(tagged), ("Blue", "Äb")))
        for _ in range(feed):  # Words that came before have numbers in the next step.
            await rig.index.ask(lambda catalog: catalog.feed(1, lambda: True))
        if gone < len(messages):
            await rig.delete([messages.pop(gone).id])
        for query in queries:
            with contextlib.suppress(QueryError):
                parsed = parse_query(query)
                page, counts = await rig.search(query, part.start, part.stop - part.start)
                expected = slow(messages, parsed, read, tagged)
                assert [one.id for one in page] == expected[part], query
                unread = sum(each not in read for each in expected)
                assert counts == (len(expected), unread), query


async def test_words_of_a_text_too_large_to_be_fed_are_found_until_it_is_gone(rig):
    # What random bytes look like: nearly every three characters are others.
    text = "".join(chr(33 + (at * at * 7919 + at) % 94) for at in range(200_000))
    name = await rig.keep(body=f"{text} needle")
    other = await rig.keep(body="hay")
    await rig.index.ask(lambda catalog: catalog.feed(10, lambda: True))
    assert packing.tokens(packing.pack_text("a " * packing.MAX_TEXT), {}, 0, print) is None
    for query, found in (
        ("needle", [name]),
        ("eedl", [name]),
        ("-needle", [other]),
        ("-hay", [name]),
    ):
        page, _ = await rig.search(query)
        assert [one.id for one in page] == found, query
    await rig.delete([name])
    await rig.index.ask(lambda catalog: catalog.purge(10))
    page, _ = await rig.search("needle")
    assert page == []


def _sendable(fields):
    return fields | {"subject": fields["subject"].strip() or "x"}


def test_folding_is_done_once_and_for_all():
    for text in ("STRASSE", "Straße", "ΣΊΣΥΦΟΣ", "a\u0308RGER", "İ", "\u0345"):
        assert fold(fold(text)) == fold(text)


async def test_a_list_names_a_bounded_number_of_tags(rig, monkeypatch):
    monkeypatch.setattr(search, "_MAX_TAGS", 3)
    names = [await rig.keep() for _ in range(4)]
    for at, name in enumerate(names):
        tags = [f"t{at}{n}" for n in range(2)]
        await rig.index.ask(lambda catalog, name=name, tags=tags: catalog.tag([name], tags))
    with contextlib.closing(rig.index.reading()) as reader:
        assert list(reader.tags()) == ["t00", "t01", "t10"]
        page = reader.page(0, 10, None, 1)
        assert [one.id for one in page] == names[:-2:-1]  # The first is there whatever it takes.
        most = page[0].octets + reader.page(1, 1)[0].octets
        assert [one.id for one in reader.page(0, 10, None, most)] == names[:-3:-1]
        assert reader.newest(parse_query("tag:t10"), 10) == [names[1]]


# --- the file and its locks

TAKE = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)  # SQLite's shared range
"""


def test_a_second_opening_leaves_the_locks_of_readers(tmp_path):
    file = IndexFile(tmp_path / "x.index")
    file.writing(VERSION).close()
    with contextlib.closing(file.reading()) as reader:
        reader.execute("SELECT * FROM state").fetchall()
        file.writing(VERSION).close()
        taken = subprocess.run([sys.executable, "-c", TAKE, file.path], check=False, timeout=60)
        assert taken.returncode == 1
    subprocess.run([sys.executable, "-c", TAKE, file.path], check=True, timeout=60)


def test_a_burst_after_a_quiet_time_is_busy_at_once(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(follower, "time", SimpleNamespace(monotonic=lambda: now))
    busy = follower._Busy()
    now += 3600
    assert busy.is_busy(100)  # not a hundred in an hour
    now += follower.LOOK_SECONDS
    assert busy.is_busy(100)  # senders pause now and then
    now += follower.CALM_SECONDS
    assert not busy.is_busy(100)


async def test_a_page_is_the_same_from_either_end_of_the_list(rig):
    names = [await rig.keep() for _ in range(7)]
    assert await rig.listed() == names[::-1]
    await rig.delete([names.pop(3)])
    assert await rig.listed() == names[::-1]
    with contextlib.closing(rig.index.reading()) as reader:
        for start in range(8):
            for limit in (0, 1, 2, 10):
                page = [one.id for one in reader.page(start, limit)]
                assert page == names[::-1][start : start + limit], (start, limit)


async def test_a_count_of_what_much_mail_has_reads_the_narrow_rows_only(rig, monkeypatch):
    monkeypatch.setattr(search, "_LEAST", 0)  # everything is common
    await rig.keep()
    await rig.listed()
    with contextlib.closing(rig.index.reading()) as reader:
        said = []
        reader._db.set_trace_callback(said.append)
        for field in ("to", "subject", "message-id"):
            reader.search(parse_query(f"{field}:xyz"), 0, 10)
        reader._db.set_trace_callback(None)
        counts = [sql for sql in said if sql.startswith("SELECT count(*), ")]
        assert len(counts) == 3
        for sql in counts:
            plan = reader._db.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
            assert "COVERING INDEX narrow" in str(plan), (sql, plan)


async def test_words_that_many_messages_have_are_counted_without_their_rows(rig, monkeypatch):
    monkeypatch.setattr(search, "_LEAST", 1)
    monkeypatch.setattr(catalog.Catalog, "purge", lambda *_: 0)  # what is deleted stays in `words`
    kept = []
    for at in range(6):  # the word has a number after the second; the first two have its grams
        kept.append(await rig.keep(body=f"berries number{at}"))
        await rig.index.ask(lambda catalog: catalog.feed(1, lambda: True))
    kept.append(await rig.keep(body="berries, not fed yet"))
    await rig.index.ask(lambda catalog: catalog.mark([kept[1], kept[4]], is_read=True))
    await rig.delete([kept[3]])
    left = [name for name in reversed(kept) if name != kept[3]]
    monkeypatch.setattr(search.IndexReader, "_hits", lambda *_: pytest.fail("rows were read"))
    for start, limit in ((0, 1000), (0, 2), (1, 3), (4, 9), (9, 1)):
        page, counts = await rig.search("berries", start, limit)
        assert [one.id for one in page] == left[start : start + limit]
        assert counts == (6, 4)


async def test_a_message_that_is_older_than_others_in_the_index_stands_in_its_place(
    rig, monkeypatch
):
    monkeypatch.setattr(search, "_LEAST", 1)
    kept = []
    for _ in range(5):
        kept.append(await rig.keep(body="the same words"))
        await rig.index.ask(lambda catalog: catalog.feed(1, lambda: True))
    assert await rig.found("same") == kept[::-1]
    # The index lost one, as after a copy that was put back, and takes it again as its last.
    await rig.index.ask(lambda catalog: catalog.remove([kept[0]]))
    rig.index.changed()
    assert await rig.found("same") == await rig.listed() == kept[::-1]


def test_the_schema_comes_with_its_state():
    # A reader may look between two transactions, and sees none of it or all.
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(file._SCHEMA)
        assert connection.execute("SELECT messages, next, is_ordered FROM state").fetchall() == [
            (0, 1, 1)
        ]


async def test_a_count_over_all_messages_goes_on_from_the_last(rig, monkeypatch):
    monkeypatch.setattr(search, "_LEAST", 0)  # everything is common
    kept = [await rig.keep(to="b@y.test") for _ in range(3)]
    assert await rig.index.in_step(PATIENCE)
    query = parse_query("to:y.test")
    with contextlib.closing(rig.index.reading()) as reader:

        def counted():
            assert reader.search(query, 0, 10)[1] == search.Counts(len(kept), unread)

        unread = 3
        counted()
        counted()
        kept.append(await rig.keep(to="c@y.test"))
        await rig.keep(to="c@z.test")
        assert await rig.index.in_step(PATIENCE)
        said, unread = [], 4
        reader._db.set_trace_callback(said.append)
        counted()
        reader._db.set_trace_callback(None)
        assert any("m.doc > 3" in sql for sql in said)
        await rig.index.ask(lambda catalog: catalog.mark([kept[0]], is_read=True))
        unread = 3
        counted()
        await rig.index.ask(lambda catalog: catalog.mark(None, is_read=True))
        unread = 0
        counted()
        await rig.delete([kept.pop(1)])
        assert await rig.index.in_step(PATIENCE)
        counted()
        tagged = parse_query("tag:blue")
        for tags, count in (((), 0), (("blue",), 1), (("green",), 0)):
            await rig.index.ask(lambda catalog, tags=tags: catalog.tag(kept[:1], tags))
            assert reader.search(tagged, 0, 10)[1].messages == count


def test_counts_of_few_searches_are_kept():
    cache = search.CountCache()
    wheres = [search.plan(parse_query(f"to:{name}"), search.Known()).where for name in range(40)]
    for where in wheres:
        cache.put(where, 7, 5, search.Counts(2, 1))
    assert cache.get(wheres[0], 7) is None
    assert cache.get(wheres[-1], 7) == (5, (2, 1))
    assert cache.get(wheres[-1], 8) is None
