"""The store `postgresql` on a real cluster: the contract, and what is only here."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import itertools
import json
import os
import socket
import subprocess
import sys
import urllib.request
from types import SimpleNamespace
from unittest.mock import AsyncMock

import asyncpg
import pytest
import trustme

from prixfixe.mail.message import IdSource
from prixfixe.settings import SettingsError, load
from prixfixe.stores.base import DamagedError, Said, StoreError, StoreOpenError, StoreOptions
from prixfixe.stores.postgresql import errors
from prixfixe.stores.postgresql import reader as reader_module
from prixfixe.stores.postgresql import store as module
from prixfixe.stores.postgresql.address import Host, parse
from prixfixe.stores.postgresql.cluster import Cluster, Facts, NoPrimaryError, guarded_by
from prixfixe.stores.postgresql.rows import place_key
from prixfixe.stores.registry import migrate, open_reader, open_store, shown
from prixfixe.testing.store_contract import (
    DurableContract,
    StoreContract,
    in_loop,
    make,
    opened,
    reading,
)
from tests.support.pg_fixture import cluster, whole_cluster  # noqa: F401 - fixtures

PASSWORD = "geheim-4711"


class TestPostgresql(StoreContract, DurableContract):
    @pytest.fixture
    def new_url(self, whole_cluster):  # noqa: F811
        return lambda _folder: whole_cluster.new_url()


@pytest.fixture
def url(whole_cluster):  # noqa: F811
    return whole_cluster.new_url()


def schema_of(url):
    return url.partition("search_path=")[2]


# --- the URL


@pytest.mark.parametrize(
    ("rest", "hosts", "user", "password", "database"),
    [
        ("//a/b", [("a", 5432)], None, None, "b"),
        ("//u@a:1,c/b", [("a", 1), ("c", 5432)], "u", None, "b"),
        ("//u%40x:p%2Fw@[::1]:7/b", [("::1", 7)], "u@x", "p/w", "b"),
        ("//[::1]/", [("::1", 5432)], None, None, None),
        ("///b?host=/run/pg", [("/run/pg", 5432)], None, None, "b"),
        (
            "//?host=a,c&port=1,2&user=u&password=pw12&dbname=d",
            [("a", 1), ("c", 2)],
            "u",
            "pw12",
            "d",
        ),
        (
            "//a/b?sslmode=verify-full&sslrootcert=/ca&connect_timeout=3",
            [("a", 5432)],
            None,
            None,
            "b",
        ),
    ],
)
def test_an_address_is_taken_apart(rest, hosts, user, password, database):
    address = parse(rest)
    assert list(address.hosts) == [Host(*one) for one in hosts]
    assert (address.user, address.password, address.database) == (user, password, database)
    assert str(password) not in repr(address) or password is None


def test_parameters_of_tls_go_to_the_driver():
    address = parse("//a/b?sslmode=verify-full&sslrootcert=/c%20a&search_path=x&index=/i")
    assert address.uri() == "postgresql://?sslmode=verify-full&sslrootcert=%2Fc%20a"
    assert (address.server, address.index) == ((("search_path", "x"),), "/i")
    assert str(parse("//[::1]:5/b")) == "[::1]:5/b"


@pytest.mark.parametrize(
    "rest",
    ["", "a/b", "///b", "//a:x/b", "//a:0/b", "//a:70000/b", "//a/b?x=1", "//a,/b", "//a/b?y"],
)
def test_a_wrong_address_stops_the_start_and_shows_no_password(rest):
    rest = rest.replace("//a", f"//u:{PASSWORD}@a")
    with pytest.raises(SettingsError, match="postgresql://USER@HOST/DATABASE") as caught:
        load({"SMTP_STORE": f"postgresql:{rest}"})
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("postgresql://u:pw@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p@w:/?@h:1/d", "postgresql://u:***@h:1/d"),
        ("postgresql://u@h/d?password=pw&x=1", "postgresql://u@h/d?password=***&x=1"),
        ("postgresql://h:1/d", "postgresql://h:1/d"),
        ("sqlite:a@b", "sqlite:a@b"),
    ],
)
def test_a_password_is_hidden(url, seen):
    assert shown(url) == seen


# --- what counts as a quorum


@pytest.mark.parametrize(
    ("names", "count"),
    [
        ("", 0),
        ("*", 0),
        ("ANY 1 (*)", 0),
        ("a", 1),
        ('"a", b', 1),
        ("ANY 2 (a, b, c)", 2),
        ("first 1 (a)", 1),
        ("3 (a,b,c)", 3),
    ],
)
def test_names_tell_for_how_many_a_commit_waits(names, count):
    assert guarded_by(names) == count


GOOD = Facts(
    is_standby=False,
    timeline=1,
    epoch="",
    names="ANY 1 (a, b)",
    commits="on",
    is_safe=True,
    is_read_only=False,
    sees_standbys=True,
    standbys=2,
    lag=0,
)


@pytest.mark.parametrize(
    ("change", "quorum", "word"),
    [
        ({}, 1, ""),
        ({}, 2, "ANY 2"),
        ({"names": "*"}, 1, "ANY 1"),
        ({"is_safe": False}, 0, "fsync"),
        ({"commits": "off"}, 0, "synchronous_commit"),
        ({"commits": "local"}, 0, ""),
        ({"commits": "remote_write"}, 1, "synchronous_commit"),
        ({"sees_standbys": False}, 1, "pg_read_all_stats"),
        ({"standbys": 0}, 1, "0 synchronous standbys"),
        ({"standbys": 0, "names": ""}, 0, ""),
    ],
)
def test_a_fault_names_its_remedy(change, quorum, word):
    fault = GOOD._replace(**change).fault(quorum)
    assert word in fault
    assert bool(word) == bool(fault)


@pytest.mark.parametrize(
    ("error", "kind", "is_passing"),
    [
        (asyncpg.DiskFullError("x"), "full", False),
        (asyncpg.UniqueViolationError("x"), "conflict", False),
        (asyncpg.InsufficientPrivilegeError("x"), "io", False),
        (asyncpg.ReadOnlySQLTransactionError("x"), "io", True),
        (asyncpg.TooManyConnectionsError("x"), "io", True),
        (asyncpg.AdminShutdownError("x"), "io", True),
        (asyncpg.InterfaceError("x"), "io", True),
        (asyncpg.InternalClientError("cannot switch to state 12"), "io", True),
        (ConnectionResetError("x"), "io", True),
        (ValueError("x"), "conflict", False),
    ],
)
def test_errors_have_a_kind(error, kind, is_passing):
    assert errors.store_error(error).kind == kind
    assert errors.is_passing(error) == is_passing


async def test_a_name_that_nobody_knows_never_gets_to_the_driver(monkeypatch):
    """With uvloop the driver, given up over a name, leaves an error that nobody takes."""
    asked = []
    monkeypatch.setattr(asyncpg, "connect", lambda *_, **__: asked.append(1))
    with pytest.raises(NoPrimaryError):
        await Cluster(parse("//prixfixe@no-such-host.invalid/mail"), "test").primary(20.0)
    assert asked == []


async def test_a_search_for_a_primary_that_is_given_up_leaves_no_error(monkeypatch):
    left = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: left.append(context))
    is_asked = asyncio.Event()

    async def ask(*_):
        is_asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionRefusedError

    monkeypatch.setattr(Cluster, "_ask", ask)
    search = asyncio.ensure_future(Cluster(parse("//prixfixe@a,b/mail"), "test").primary(0.01))
    await is_asked.wait()
    await asyncio.sleep(0.05)  # it gives the others up by now, for 0.1 s
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    del search
    await asyncio.sleep(0)
    gc.collect()
    assert left == []


async def test_a_question_that_is_given_up_leaves_no_error(monkeypatch):
    left = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: left.append(context))
    ended = asyncio.Event()

    async def ask(_):
        await ended.wait()
        raise asyncpg.ConnectionDoesNotExistError("closed in the middle")

    reader = SimpleNamespace(_connected=AsyncMock())  # its own thread has another loop
    reader._connected.return_value.connection.terminate = ended.set
    monkeypatch.setattr(reader_module, "ANSWER_SECONDS", 0.01)
    with pytest.raises(TimeoutError):
        await reader_module.PostgresqlReader._answer(reader, ask)
    await asyncio.sleep(0)
    gc.collect()
    assert left == []


def test_a_foreign_id_has_a_place():
    assert place_key("not hexadecimal") == 0
    assert place_key("0" * 14 + "f" + "x" * 13) == 15


# --- what stops the start


async def refused(url, **options):
    with pytest.raises(StoreOpenError) as caught:
        await open_store(url, StoreOptions(**options)).open()
    return str(caught.value)


@pytest.fixture
def role(whole_cluster):  # noqa: F811
    """Make roles with a password, and take them away."""
    made = []

    def new(*rights, password=PASSWORD):
        name = f"r{os.urandom(4).hex()}"
        made.append(name)
        whole_cluster.ask(
            f"CREATE ROLE {name} LOGIN PASSWORD '{password}'; GRANT ALL ON SCHEMA public TO {name}"
        )
        for right in rights:
            whole_cluster.ask(right.format(role=name))
        return name

    yield new
    for name in made:
        whole_cluster.ask(f"DROP OWNED BY {name}; DROP ROLE {name}")


def with_user(url, name, password=PASSWORD):
    return url.replace("postgres@", f"{name}:{password}@", 1)


async def test_a_start_needs_the_right_to_see_standbys_and_to_write(whole_cluster, url, role):  # noqa: F811
    assert (await asyncio.to_thread(migrate, url)).endswith("is of version 1 now")
    schema = schema_of(url)
    name = role(f"GRANT USAGE ON SCHEMA {schema} TO {{role}}")
    assert "GRANT" in await refused(with_user(url, name))
    whole_cluster.ask(f"GRANT SELECT ON {schema}.prixfixe_schema TO {name}")
    text = await refused(with_user(url, name))
    assert "prixfixe_mail (INSERT)" in text
    whole_cluster.ask(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {name}")
    assert "GRANT pg_read_all_stats" in await refused(with_user(url, name))
    whole_cluster.ask(f"GRANT pg_read_all_stats TO {name}")
    async with opened(with_user(url, name)) as store:
        await store.put(make(IdSource()))
    whole_cluster.ask(f"ALTER ROLE {name} SET synchronous_commit = off")
    text = await refused(with_user(url, name))
    assert "synchronous_commit is off; set it to on" in text
    assert PASSWORD not in text


async def test_a_start_needs_tables_of_this_version(whole_cluster, url):  # noqa: F811
    with pytest.raises(StoreOpenError, match="has a server run with it"):
        open_reader(url)
    async with opened(url) as store:
        await store.put(make(IdSource()))
    assert await asyncio.to_thread(migrate, url) == "the schema is of version 1: nothing to do"
    table = f"{schema_of(url)}.prixfixe_schema"
    whole_cluster.ask(f"UPDATE {table} SET version = 0")
    assert "run `prixfixe migrate`" in await refused(url)
    whole_cluster.ask(f"UPDATE {table} SET version = 9, oldest = 9")
    assert "update this server" in await refused(url)
    whole_cluster.ask(f"UPDATE {table} SET version = 1, oldest = 1")
    whole_cluster.ask(f"UPDATE {schema_of(url)}.prixfixe_mail SET xid = 1::bigint << 40")
    assert "dump of another cluster" in await refused(url)
    await asyncio.to_thread(migrate, url)
    async with opened(url) as store:
        await store.put(make(IdSource()))


async def test_a_start_needs_enough_standbys(url):
    assert "ANY 2" in await refused(url, quorum=2)
    async with opened(url, StoreOptions(quorum=0)) as store:
        await store.put(make(IdSource()))
        await store.probe()


async def test_a_start_needs_a_primary(whole_cluster, monkeypatch):  # noqa: F811
    monkeypatch.setattr(module, "OPEN_SECONDS", 0.2)
    standbys = [node for node in whole_cluster.nodes if node is not whole_cluster.primary]
    assert "is a standby" in await refused(whole_cluster.url(nodes=standbys))
    nowhere = "postgresql://127.0.0.1:1/postgres"
    assert "no primary among 127.0.0.1:1/postgres" in await refused(nowhere)
    with pytest.raises(StoreOpenError, match="no primary"):
        open_reader(nowhere)
    with pytest.raises(StoreOpenError, match="no primary"):
        await asyncio.to_thread(migrate, nowhere)
    missing = whole_cluster.url().removesuffix("postgres") + "nowhere"
    assert "does not exist" in await refused(missing)


@pytest.fixture
def silent():
    """A host that takes connections and never answers, as a frozen one does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Host(*listener.getsockname())


def with_silent(silent, url):
    address = parse(url.partition(":")[2])
    return Cluster(dataclasses.replace(address, hosts=(silent, *address.hosts)), "test")


async def test_a_new_primary_is_seen_while_another_host_is_silent(whole_cluster, silent):  # noqa: F811
    hosts = with_silent(silent, whole_cluster.url())
    never = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(20):
        assert await hosts.has_newer(60.0, never)
        session = await hosts.primary(60.0)
        session.connection.terminate()
        assert not await hosts.has_newer(0.2, never)
        never.set_result(None)
        assert not await hosts.has_newer(60.0, never)


async def test_a_silent_host_holds_nobody_up_while_others_are_standbys(whole_cluster, silent):  # noqa: F811
    standbys = [node for node in whole_cluster.nodes if node is not whole_cluster.primary]
    hosts = with_silent(silent, whole_cluster.url(nodes=standbys))
    hosts.timeline = 1
    async with asyncio.timeout(20):
        with pytest.raises(NoPrimaryError, match="does not answer"):
            await hosts.primary(60.0)


def command(*words, url, **variables):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SMTP_")}
    environ |= {"SMTP_STORE": url, "SMTP_PORT": "0", "SMTP_HTTP_PORT": "0", **variables}
    return subprocess.run(
        [sys.executable, "-m", "prixfixe", *words],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_wrong_login_is_exit_3_and_no_output_has_the_password(whole_cluster, url, role):  # noqa: F811
    wrong = with_user(url, role(), "falsch-0815")
    for words in (("serve",), ("messages",), ("migrate",), ("export", "-", "--format", "mbox")):
        done = command(*words, url=wrong)
        assert done.returncode == 3, done
        assert "password authentication failed" in done.stderr + done.stdout
        assert "falsch-0815" not in done.stderr + done.stdout
    for words in (("config",), ("config", "--json")):
        done = command(*words, url=wrong)
        assert done.returncode == 0
        assert ":***@" in done.stdout
        assert "falsch-0815" not in done.stderr + done.stdout
    done = command("backup", "x", url=wrong)
    assert "pg_dump" in done.stderr
    assert "falsch-0815" not in done.stderr
    assert "pg_restore" in command("restore", __file__, url=wrong).stderr


@pytest.fixture
def tls(cluster, tmp_path):  # noqa: F811
    """Give the primary a certificate for `localhost`; return its CA's file and the URL."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    primary = cluster.primary
    files = {
        "ssl_cert_file": primary.folder / "tls.crt",
        "ssl_key_file": primary.folder / "tls.key",
    }
    issued.cert_chain_pems[0].write_to_path(files["ssl_cert_file"])
    issued.private_key_pem.write_to_path(files["ssl_key_file"])
    owner = primary.folder.stat()
    for path in files.values():
        path.chmod(0o600)
        os.chown(path, owner.st_uid, owner.st_gid)
    lines = [f"{name} = '{path}'" for name, path in files.items()]
    cluster.set(primary, *lines, "ssl = on")
    cluster.wait_until("SHOW ssl", "on")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    url = cluster.new_url([primary.port])
    return lambda ca="ca.crt", host="localhost": (
        f"{url.replace('127.0.0.1', host)}&sslmode=verify-full&sslrootcert={tmp_path / ca}"
    )


@in_loop
async def test_the_database_is_known_by_its_certificate(cluster, tls):  # noqa: F811
    (began,) = cluster.ask("SELECT clock_timestamp()")  # what older tests left may still close
    async with opened(tls()) as store:
        await store.put(message := make(IdSource()))
        with reading(tls()) as reader:
            assert reader.get(message.id) == message
            used = await asyncio.to_thread(
                cluster.ask,
                "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
                f" WHERE application_name LIKE 'prixfixe%' AND backend_start > '{began}'",
            )
    assert used == ["t"]


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"ca": "other.crt"}, "name its CA with sslrootcert=FILE"),
        ({"host": "127.0.0.1"}, "the URL needs a name of the host that is in its certificate"),
        ({"ca": "missing.crt"}, "missing.crt: No such file or directory"),
    ],
)
def test_another_certificate_is_exit_3(tls, tmp_path, change, remedy):
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.crt")
    for words in (("serve",), ("messages",)):
        done = command(*words, url=tls(**change))
        assert done.returncode == 3, done
        assert remedy in done.stderr + done.stdout


def test_commands_read_and_copy_the_store(url, tmp_path):
    old = f"sqlite:{tmp_path / 'mail.db'}"
    messages = [make(IdSource(), b"Subject: moved\r\n\r\nbody\r\n") for _ in range(3)]

    async def fill():
        async with opened(old) as store:
            await asyncio.gather(*map(store.put, messages))

    asyncio.run(fill())
    for copied, there in ((3, 0), (0, 3)):
        done = command("migrate", "--from", old, url=url)
        assert done.returncode == 0, done.stderr
        assert f"{copied} messages copied from {old}; {there} were there" in done.stdout
    with reading(url) as reader:
        assert sorted(map(reader.get, reader.ids())) == sorted(messages)
    listed = command("messages", "--query", "subject:moved", url=url)
    assert sorted(line[:28] for line in listed.stdout.splitlines()) == sorted(
        one.id for one in messages
    )
    assert b"body" in command("show", "latest", url=url).stdout.encode()
    assert command("export", str(tmp_path / "out"), url=url).returncode == 0
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert command("migrate", url=old).stdout.startswith("a sqlite: store is brought up to date")


# --- several servers


async def ask(server, path, method="GET", body=None):
    request = urllib.request.Request(
        server.http + path, method=method, data=None if body is None else json.dumps(body).encode()
    )

    def answer():
        with urllib.request.urlopen(request, timeout=60) as got:
            text = got.read()
            return (
                json.loads(text)
                if got.headers["Content-Type"].startswith("application/json")
                else text
            )

    return await asyncio.to_thread(answer)


async def send(server, subject, body=b"text"):
    wire = await server.say_hello()
    codes = await wire.ask(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n", 3)
    assert codes == [250, 250, 354]
    assert await wire.ask(b"Subject: " + subject + b"\r\n\r\n" + body + b"\r\n.\r\n") == [250]


@pytest.fixture
async def pair(start, url):
    """Two servers on one store, with HTTP."""
    one = await start(SMTP_STORE=url, SMTP_HTTP_PORT="0", SMTP_HTTP_BIND="127.0.0.1")
    other = await start(SMTP_STORE=url, SMTP_HTTP_PORT="0", SMTP_HTTP_BIND="127.0.0.1")
    return one, other


async def test_each_server_reads_what_the_other_keeps(pair):
    one, other = pair
    await send(one, b"first")
    (entry,) = (await ask(other, "/api/v1/messages"))["messages"]
    assert entry["Subject"] == "first"
    found = await ask(other, "/api/v1/search?query=subject:first")
    assert [each["ID"] for each in found["messages"]] == [entry["ID"]]
    assert (await ask(other, f"/api/v1/message/{entry['ID']}"))["Text"].strip() == "text"
    await ask(other, "/api/v1/messages", "DELETE", {"IDs": [entry["ID"]]})
    assert (await ask(one, "/api/v1/messages"))["total"] == 0
    assert (await ask(one, "/api/v1/search?query=subject:first"))["messages"] == []


async def test_a_wait_answers_for_mail_of_another_server(pair):
    one, other = pair
    wait = asyncio.ensure_future(ask(other, "/api/v1/wait?query=subject:awaited&timeout=60"))
    while not other.server.arrivals.waiters:
        await asyncio.sleep(0.01)
    await send(one, b"another")
    await send(one, b"awaited")
    assert [each["Subject"] for each in (await wait)["messages"]] == ["awaited"]


async def test_read_state_and_tags_are_shared(pair):
    one, other = pair
    await send(one, b"first")
    await send(one, b"second")
    ids = [each["ID"] for each in (await ask(one, "/api/v1/messages"))["messages"]]
    await ask(one, "/api/v1/messages", "PUT", {"Read": True, "IDs": ids[:1]})
    await ask(one, "/api/v1/tags", "PUT", {"IDs": ids, "Tags": ["Blue", "red"]})
    read = await ask(other, "/api/v1/search?query=is:read")
    assert [each["ID"] for each in read["messages"]] == ids[:1]
    assert await ask(other, "/api/v1/tags") == ["Blue", "red"]
    await ask(other, "/api/v1/tags/red", "PUT", {"Name": "green"})
    assert sorted(await ask(one, "/api/v1/tags")) == ["Blue", "green"]
    await ask(other, "/api/v1/messages", "PUT", {"Read": True})
    assert (await ask(one, "/api/v1/search?query=is:unread"))["messages"] == []


async def test_a_new_server_knows_what_people_said(pair, start, url):
    one, _other = pair
    await send(one, b"first")
    (entry,) = (await ask(one, "/api/v1/messages"))["messages"]
    await ask(one, "/api/v1/tags", "PUT", {"IDs": [entry["ID"]], "Tags": ["kept"]})
    late = await start(SMTP_STORE=url, SMTP_HTTP_PORT="0", SMTP_HTTP_BIND="127.0.0.1")
    found = await ask(late, "/api/v1/search?query=tag:kept")
    assert [each["ID"] for each in found["messages"]] == [entry["ID"]]


async def test_the_server_shows_no_password(start, url, role, whole_cluster):  # noqa: F811
    name = role(
        "GRANT pg_read_all_stats TO {role}", f"GRANT ALL ON SCHEMA {schema_of(url)} TO {{role}}"
    )
    server = await start(
        SMTP_STORE=with_user(url, name), SMTP_HTTP_PORT="0", SMTP_HTTP_BIND="127.0.0.1"
    )
    await send(server, b"first")
    assert f"{name}:***@" in server.bound.line()
    seen = [server.bound.line(), repr(server.server._settings), *server.records()]
    paths = ("/api/v1/info", "/readyz", "/metrics", "/api/v1/messages")
    seen += [str(await ask(server, path)) for path in paths]
    assert "prixfixe_store_standbys" in "".join(seen)
    assert PASSWORD not in "".join(seen)


# --- reading


@in_loop
async def test_a_reader_goes_on_after_its_connection_is_lost(whole_cluster, url):  # noqa: F811
    async with opened(url) as store:
        await store.put(message := make(IdSource()))
        with reading(url) as reader:
            assert reader.get(message.id) == message
            whole_cluster.ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'prixfixe reader'"
            )
            assert reader.get(message.id) == message
        with pytest.raises(StoreError) as caught:
            reader.totals()
        assert caught.value.kind == "closed"


@in_loop
async def test_a_silent_database_leaves_no_error_that_nobody_takes(url, monkeypatch):
    async with opened(url) as store:
        await store.put(make(IdSource()))
        with reading(url) as reader:
            faults = []
            reader._loop.set_exception_handler(lambda _loop, what: faults.append(what))
            monkeypatch.setattr(reader_module, "ANSWER_SECONDS", 0.1)
            with pytest.raises(StoreError, match="does not answer"):
                reader._fetch("SELECT pg_sleep(60)")
            monkeypatch.undo()
            assert reader.totals().messages == 1
            gc.collect()
            assert faults == []


@in_loop
async def test_damage_is_told(whole_cluster, url):  # noqa: F811
    async with opened(url) as store:
        await store.put(message := make(IdSource()))
        whole_cluster.ask(f"UPDATE {schema_of(url)}.prixfixe_mail SET received_at = 1")
        with reading(url) as reader, pytest.raises(DamagedError):
            reader.get(message.id)


@in_loop
async def test_what_is_said_of_a_missing_message_is_nothing(url):
    async with opened(url):
        with reading(url) as reader:
            reader.say([Said("nobody", is_read=True)])
            assert reader.changes(None).said == []
            assert reader.changes(0) == (reader.changes(0).since, [], [], [])


@in_loop
async def test_two_writers_of_one_id_do_not_both_win(url):
    """The row of another message is no success, also when it is found again."""
    ids = IdSource()
    first = make(ids)
    async with opened(url) as store:
        await store.put(first)
        other = first._replace(body=b"other")
        database = store._database
        rows = module.columns([other])

        async def again():
            await database._attempt(rows, module.time.monotonic() + 20, is_again=True)

        with pytest.raises(StoreError):
            await store._ask("commit", lambda: database._run(again()))
        with reading(url) as reader:
            assert reader.get(first.id) == first


@in_loop
async def test_acknowledged_mail_that_a_new_primary_lacks_is_told(whole_cluster, url):  # noqa: F811
    lost = []
    ids = IdSource()
    async with opened(url, StoreOptions(on_lost=lost.append)) as store:
        messages = [make(ids) for _ in range(3)]
        await asyncio.gather(*map(store.put, messages))
        await store.delete([messages[0].id])
        whole_cluster.ask(
            f"DELETE FROM {schema_of(url)}.prixfixe_mail WHERE id = '{messages[1].id}'"
        )
        for _ in range(2):
            store._database._lately._timeline = 0  # that of the next connection is higher
            await store._ask("probe", store._database._drop)
            await store.put(make(ids))
            assert lost == [1]


async def test_the_server_tells_of_lost_mail(start, url):
    server = await start(SMTP_STORE=url, SMTP_HTTP_PORT="0", SMTP_HTTP_BIND="127.0.0.1")
    await asyncio.to_thread(server.server._lost, 2)
    page = await ask(server, "/metrics")  # and the loop had its turn
    assert b'prixfixe_store_lost_total{backend="postgresql"} 2' in page
    assert [each["lost"] for each in server.logged("store lost mail")] == [2]


@in_loop
async def test_the_queue_takes_no_time_beyond_the_deadline(url, monkeypatch):
    async with opened(url) as store:
        monkeypatch.setattr(module, "COMMIT_SECONDS", -1.0)
        with pytest.raises(StoreError) as caught:
            await store.put(make(IdSource()))
        assert caught.value.kind == "timeout"


@in_loop
async def test_a_host_not_reached_in_the_last_moment_hides_no_reason(url, monkeypatch):
    reasons = itertools.chain(["quorum"], itertools.repeat("io"))

    async def fail(*_, **__):
        raise module._Again(StoreError("told", kind=next(reasons)), was_sent=False)

    async with opened(url) as store:
        monkeypatch.setattr(module, "COMMIT_SECONDS", 1.05)
        monkeypatch.setattr(module._Database, "_attempt", fail)
        with pytest.raises(StoreError) as caught:
            await store.put(make(IdSource()))
        assert caught.value.kind == "quorum"
