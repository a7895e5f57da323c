"""Searching over HTTP: the whole grammar, read state, tags, waits, and an index that is behind."""

import asyncio
import contextlib
import threading
from datetime import UTC, datetime

import pytest

from prixfixe.cli.main import main
from prixfixe.http.api.stored_mail import SlowSearching
from prixfixe.mail.message import Envelope, IdSource, Message
from prixfixe.mail.query import parse_query
from prixfixe.stores import in_process
from prixfixe.stores.base import StoreOptions
from prixfixe.stores.index import SearchGivenUpError
from prixfixe.stores.memory import MemoryReader, MemoryStore
from tests.conftest import PATIENCE, until
from tests.unit.test_http import deliver


def letter(subject="x", *, to="b@y.test", body="hello", more=""):
    return (
        f"From: Ann Ax <a@x.test>\r\nTo: Bob <{to}>\r\nSubject: {subject}\r\n{more}\r\n{body}\r\n"
    ).encode()


@pytest.fixture(params=["memory:", "sqlite", "maildir"])
async def api(request, serve, client, tmp_path):
    url = request.param if ":" in request.param else f"{request.param}:{tmp_path / 'kept'}"
    return Api(await serve(SMTP_STORE=url), client)


class Api:
    def __init__(self, running, client):
        self.running, self.client = running, client
        self.url = running.http + "/api/v1/"

    async def ask(self, method, path, expected=200, **more):
        answer = await self.client.request(method, self.url + path, **more)
        assert answer.status_code == expected, answer.text
        return answer

    async def get(self, path, expected=200, **params):
        return (await self.ask("GET", path, expected, params=params)).json()

    async def ids(self, path, **params):
        return [one["ID"] for one in (await self.get(path, **params))["messages"]]

    async def found(self, query, **params):
        return await self.ids("search", query=query, **params)


async def test_the_grammar_is_answered(api):
    first = await deliver(api.running, letter("Straße", body="alpha beta"))
    second = await deliver(api.running, letter("other", to="c@y.test"), to=(b"c@y.test",))
    assert await api.found("STRASSE") == await api.found('"alpha beta"') == [first]
    assert await api.found("addressed:c@y") == await api.found("-to:hidden") == [second]
    assert await api.found("is:unread") == await api.found("larger:10") == [second, first]
    assert await api.found("before:2001 OR") == await api.found("has:attachment") == []
    assert await api.found("after:2001-01-01", tz="Europe/Berlin", limit=1) == [second]
    page = await api.get("search", query="hello", limit=0)
    assert (page["messages_count"], page["count"], page["total"]) == (1, 0, 2)
    assert "NotIndexed" not in page


@pytest.mark.parametrize("path", ["messages?form=x", "search?query=x&before=1&sort=x", "info?x=1"])
async def test_a_parameter_that_is_not_known_is_named(api, path):
    name = path.rpartition("&")[2].rpartition("?")[2].partition("=")[0]
    answer = await api.ask("GET", path, 400)
    assert answer.json()["Error"].startswith("unknown parameter ")
    assert repr(name) in answer.text or "'before'" in answer.text


async def test_read_state_is_set_and_searched(api):
    names = [await deliver(api.running, letter(f"n{n}")) for n in range(4)]
    await api.ask("PUT", "messages", json={"IDs": names[:2], "Read": True})
    assert await api.found("is:read") == names[1::-1]
    page = await api.get("messages")
    assert [one["Read"] for one in page["messages"]] == [False, False, True, True]
    assert (page["unread"], page["messages_unread"], (await api.get("info"))["Unread"]) == (2, 2, 2)
    await api.ask("PUT", "messages", json={"Search": "subject:n3", "Read": True})
    assert (await api.get("search", query="is:read"))["messages_unread"] == 0
    await api.ask("PUT", "messages", json={"Read": False})
    assert await api.found("is:read") == []
    for wrong in ({"IDs": names, "Search": "x"}, {"Reed": True}, {"Read": 1}, {"IDs": "x"}, []):
        await api.ask("PUT", "messages", 400, json=wrong)
    assert await api.found("is:read") == []


async def test_tags_come_from_the_mail_and_by_the_api(api):
    one = await deliver(api.running, letter(more="X-Tags: Red, Blue sky\r\n"))
    two = await deliver(api.running, letter())
    assert await api.get("tags") == ["Blue sky", "Red"]
    assert await api.found('tag:"blue sky"') == await api.found("is:tagged") == [one]
    await api.ask("PUT", "tags", json={"IDs": [one, two], "Tags": ["Green"]})
    assert await api.get("tags") == ["Green"]
    assert await api.found("tag:green") == [two, one]
    assert (await api.get(f"message/{one}"))["Tags"] == ["Green"]
    await api.ask("PUT", "tags/Green", json={"Name": "Grün"})
    assert [entry["Tags"] for entry in (await api.get("messages"))["messages"]] == [["Grün"]] * 2
    assert (await api.get("info"))["Tags"] == {"Grün": 2}
    await api.ask("DELETE", "tags/GRÜN")
    assert await api.get("tags") == await api.found("is:tagged") == []
    await api.ask("PUT", "tags", 400, json={"IDs": [], "Tags": ["x"]})


async def test_latest_may_be_the_newest_that_matches(api):
    names = [await deliver(api.running, letter(f"n{n}")) for n in range(3)]
    assert (await api.get("message/latest"))["ID"] == names[2]
    assert (await api.get("message/latest", query="subject:n1"))["ID"] == names[1]
    await api.get("message/latest", 404, query="subject:n9")


async def test_a_list_may_begin_before_a_time(api):
    names = [await deliver(api.running, letter(f"n{n}")) for n in range(3)]
    page = await api.get("messages")
    created = datetime.fromisoformat(page["messages"][0]["Created"]).timestamp()
    assert await api.ids("messages", before=int(created * 1000) + 1000) == names[::-1]
    assert await api.ids("messages", before=1_000_000_000_000) == []


async def test_deleting_by_search(api):
    names = [await deliver(api.running, letter(f"n{n}")) for n in range(3)]
    await api.ask("DELETE", "search", params={"query": "subject:n1"})
    assert await api.ids("messages") == [names[2], names[0]]
    await api.ask("DELETE", "messages")
    assert await api.ids("messages") == await api.found("-subject:n1") == []


async def test_a_wait_for_exact_fields(api):
    other = await deliver(api.running, letter("Order 1", to="bb@y.test"), to=(b"bb@y.test",))
    right = await deliver(api.running, letter("Order 11", to="b@y.test"), to=(b"b@y.test",))
    assert await api.ids("wait", to="B@y.test") == [right]
    assert await api.ids("wait", subject="order 1") == [other]
    assert await api.ids("wait", to="bb@y.test", subject="Order 1", query="hello") == [other]
    assert await api.ids("wait", count=2, **{"from": "a@x.test"}) == [right, other]
    late = await api.get("wait", 408, to="y.test", timeout=0)
    assert late == {"Error": "0 of 1 messages came in 0 s", "Stored": 2, "Refused": []}
    waiting = asyncio.create_task(api.ids("wait", to="new@y.test", timeout=PATIENCE))
    await until(lambda: api.running.server.arrivals.waiters)
    await deliver(api.running, letter(to="not-new@y.test"), to=(b"not-new@y.test",))
    came = await deliver(api.running, letter(to="new@y.test"), to=(b"new@y.test",))
    assert await waiting == [came]


async def test_a_wait_since_a_message_or_a_time(api):
    names = [await deliver(api.running, letter(f"n{n}")) for n in range(3)]
    assert await api.ids("wait", query="subject:n", since=names[0], count=2) == names[:0:-1]
    assert (
        await api.ids("wait", query="hello", since="2001-01-01T00:00:00Z", count=3) == names[::-1]
    )
    now = datetime.now(UTC).isoformat()
    await api.get("wait", 408, query="subject:n", since=now, timeout=0)
    await api.ask("DELETE", "messages", json={"IDs": names[:1]})
    assert await api.ids("wait", query="subject:n", since=names[0], count=2) == names[:0:-1]
    assert "since: " in (await api.get("wait", 400, query="x", since="yesterday"))["Error"]
    assert "query: " in (await api.get("wait", 400))["Error"]


# --- an index that is behind, or searched for long


@pytest.fixture
async def stuck(serve, client, tmp_path, monkeypatch):
    """Return a server whose index takes no more messages until it is let."""
    from prixfixe.stores.index.steps import Steps

    may_go_on, take = threading.Event(), Steps._take

    def take_later(steps, places, **more):
        if places:
            steps.is_behind = True
            may_go_on.wait(PATIENCE)
        take(steps, places, **more)

    monkeypatch.setattr("prixfixe.http.api.mailbox.STEP_SECONDS", 0.05)
    monkeypatch.setattr(Steps, "_take", take_later)
    running = await serve(SMTP_STORE=f"sqlite:{tmp_path / 'kept'}")
    yield Api(running, client), may_go_on
    may_go_on.set()


async def test_what_is_left_out_is_told_and_lists_are_whole(stuck):
    api, may_go_on = stuck
    names = [await deliver(api.running, letter(f"n{n}")) for n in range(3)]
    answer = await api.ask("GET", "search", params={"query": "hello"})
    assert answer.headers["x-prixfixe-not-indexed"] == "3"
    assert (answer.json()["NotIndexed"], answer.json()["total"]) == (3, 3)
    assert await api.ids("messages") == names[::-1]
    await api.ask("DELETE", "search", 503, params={"query": "hello"})
    for path in ("messages?before=4000000000000", "message/latest?query=hello"):
        assert "not all messages are indexed" in (await api.ask("GET", path, 503)).text
    ready = (await api.client.get(api.running.http + "/readyz")).json()
    assert ready["checks"]["index"] == {"ok": True, "detail": "catching up: 0 messages indexed"}
    waiting = asyncio.create_task(api.ids("wait", query="subject:n1", timeout=PATIENCE))
    await until(lambda: api.running.server.arrivals.waiters)
    may_go_on.set()
    assert await waiting == [names[1]]
    await until(lambda: api.running.server._index.progress.is_in_step)
    assert await api.found("hello") == names[::-1]


async def test_a_wait_wakes_on_the_message_itself(stuck):
    api, _may_go_on = stuck
    waiting = asyncio.create_task(api.ids("wait", query="subject:last", timeout=PATIENCE))
    await until(lambda: api.running.server.arrivals.waiters)
    name = await deliver(api.running, letter("last"))
    assert await waiting == [name]


@pytest.fixture
async def searched(serve, client, tmp_path, monkeypatch):
    """Return a server whose searches take until they are given up."""
    from prixfixe.stores.index import IndexReader

    begun = threading.Event()
    search = IndexReader.search

    def search_long(reader, query, *page):
        if query.terms[0].value != "long":
            return search(reader, query, *page)
        begun.set()
        assert reader._is_given_up.wait(PATIENCE)
        ended.append(query)
        return search(reader, query, *page)

    ended = []
    monkeypatch.setattr(IndexReader, "search", search_long)
    running = await serve(SMTP_STORE=f"sqlite:{tmp_path / 'kept'}")
    return Api(running, client), begun, ended


async def test_a_search_holds_up_no_list_and_ends_with_its_client(searched):
    api, begun, ended = searched
    name = await deliver(api.running, letter())
    searching = asyncio.create_task(api.found("long"))
    await asyncio.to_thread(begun.wait, PATIENCE)
    assert await api.ids("messages") == [name]
    assert (await api.get(f"message/{name}"))["ID"] == name
    assert not ended
    searching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await searching
    await until(lambda: ended)
    assert await api.found("hello") == [name]


# --- the commands that ask a running server


async def command(api, *words):
    return await asyncio.to_thread(main, [*words[:1], "--http", api.running.http, *words[1:]])


async def test_await_prints_what_comes(api, capsys):
    waiting = asyncio.create_task(command(api, "await", "subject:last", "--timeout", "60"))
    await until(lambda: api.running.server.arrivals.waiters)
    name = await deliver(api.running, letter("the last\x1b[1m"))
    assert await waiting == 0
    words = capsys.readouterr().out.split()
    assert (words[0], words[2:5]) == (name, ["a@x.test", "the", "last"])
    assert await command(api, "await", "subject:none", "--timeout", "0.01") == 1
    assert capsys.readouterr().err == "prixfixe: 0 of 1 messages came in 0.01 s\n"
    assert await command(api, "await", "is:x") == 2


async def test_delete_deletes_what_matches(api, capsys):
    names = [await deliver(api.running, letter(f"n{n}")) for n in range(3)]
    assert await command(api, "delete", "subject:n1") == 0
    assert await api.ids("messages") == [names[2], names[0]]
    assert await command(api, "delete", "--", "-subject:n2") == 0
    assert await api.ids("messages") == [names[2]]


def test_a_command_says_that_no_server_answers(capsys, closed_port):
    assert main(["delete", "x", "--http", f"http://127.0.0.1:{closed_port}"]) == 1
    assert "no answer from http://127.0.0.1" in capsys.readouterr().err


# --- a store of another package, without an index


class Plain(MemoryReader):
    """A reader that lists and reads, and nothing more; `gate` holds up who reads."""

    gate = None
    waiting = 0

    def get(self, message_id):
        if Plain.gate is not None and threading.current_thread().name == "prixfixe-search":
            Plain.waiting += 1
            Plain.gate.wait(PATIENCE)
        return super().get(message_id)


@pytest.fixture
async def plain(serve, client, monkeypatch):
    """An API on a store in memory that nothing follows."""
    monkeypatch.setattr(in_process, "MEMORY", in_process.MEMORY._replace(index_path=None))
    monkeypatch.setattr("prixfixe.stores.memory.MemoryReader", Plain)
    monkeypatch.setattr(Plain, "gate", None)
    return Api(await serve(SMTP_STORE="memory:"), client)


async def test_a_store_without_an_index_answers_the_same(plain):
    names = [await deliver(plain.running, letter(f"n{n}", body=f"word{n}")) for n in range(3)]
    assert await plain.found("word1") == await plain.found("subject:n1") == [names[1]]
    assert await plain.found("-word1") == [names[2], names[0]]
    page = await plain.get("search", query="word", start=1, limit=1)
    assert (page["messages_count"], [one["ID"] for one in page["messages"]]) == (3, [names[1]])
    assert "NotIndexed" not in page
    assert (await plain.get("message/latest", query="word0"))["ID"] == names[0]
    created = datetime.fromisoformat(page["messages"][0]["Created"]).timestamp()
    assert await plain.ids("messages", before=int(created * 1000) + 60_000) == names[::-1]
    assert await plain.ids("messages", before=1_000_000_000_000) == []
    assert await plain.ids("wait", query="word2", timeout=0) == [names[2]]
    assert await plain.ids("wait", subject="n0", since="2001-01-01T00:00:00Z") == [names[0]]
    await plain.ask("DELETE", "search", params={"query": "word0"})
    assert await plain.ids("messages") == [names[2], names[1]]
    await plain.ask("PUT", "messages", 501, json={"Read": True})
    assert await plain.get("tags") == []


async def test_a_search_without_an_index_holds_up_no_list(plain):
    names = [await deliver(plain.running, letter(f"n{n}")) for n in range(3)]
    Plain.gate, Plain.waiting = threading.Event(), 0
    asked = asyncio.create_task(plain.found("hello"))
    await until(lambda: Plain.waiting == 1)
    assert await plain.ids("messages") == names[::-1]
    Plain.gate.set()
    assert await asked == names[::-1]


async def test_a_search_without_an_index_ends_when_nobody_waits_for_it():
    store, ids, gate, read = MemoryStore(StoreOptions()), IdSource(), threading.Event(), []
    await store.open()
    for _ in range(3):
        made, at = ids()
        await store.put(Message(made, at, Envelope("a@x.test", ()), b"Subject: x\r\n\r\n"))

    class Slow(MemoryReader):
        def get(self, message_id):
            read.append(message_id)
            gate.wait(PATIENCE)
            return super().get(message_id)

    searching = SlowSearching(lambda: Slow(store))
    query = parse_query("subject:x")

    def work(mail, is_over):
        return [one.id for one in mail.matching(query, mail.reader.ids(), is_over)]

    first, second = (asyncio.create_task(searching.ask(work)) for _ in range(2))
    await until(lambda: len(read) == 1)
    first.cancel()
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    gate.set()
    assert len(await searching.ask(work)) == 3
    assert len(read) == 3  # one of the first search, which is remembered, and two
    searching.close()
    with pytest.raises(SearchGivenUpError):
        await searching.ask(work)
    await store.close()
