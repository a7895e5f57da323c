"""The HTTP paths, over a real listener, with mail that came in over SMTP."""

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from tests.conftest import PATIENCE, until

MAIL = (
    b"From: Alice <a@x.test>\r\nTo: Bob <b@y.test>\r\nSubject: =?utf-8?q?h=C3=A9?= one\r\n"
    b"Message-ID: <m1@x.test>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello words\r\n"
    b"--b\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script>\r\n"
    b"--b\r\nContent-Type: application/x-test\r\nContent-Disposition: attachment; filename=a.bin\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--b--\r\n"
)


async def deliver(running, body=MAIL, *, to=(b"b@y.test", b"hidden@y.test")):
    wire = await running.say_hello()
    recipients = b"".join(b"RCPT TO:<%b>\r\n" % one for one in to)
    await wire.ask(
        b"MAIL FROM:<a@x.test> BODY=8BITMIME\r\n" + recipients + b"DATA\r\n", 2 + len(to)
    )
    await wire.send(body + b".\r\n")
    answer = await wire.reply()
    assert answer.startswith(b"250 ")
    return answer.split()[-1].decode()


async def test_health_paths(serve, client):
    running = await serve()
    for path in ("/livez", "/readyz", "/healthz"):
        answer = await client.get(running.http + path)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
    checks = answer.json()["checks"]
    assert set(checks) == {"listeners", "store", "draining", "index"}
    assert all(check["ok"] for check in checks.values())


async def test_not_ready_names_the_check(serve, client):
    running = await serve()
    for listener in running.server._listeners:
        listener.close()
    answer = await client.get(running.http + "/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["listeners"] == {"ok": False, "detail": "a listener is closed"}
    assert (await client.get(running.http + "/livez")).status_code == 200


async def test_a_listener_that_only_the_kernel_knows_closed_is_not_ready(serve, client):
    running = await serve()
    (listener,) = running.server._listeners[0].sockets
    with socket.socket(fileno=os.dup(listener.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)
    answer = await client.get(running.http + "/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["listeners"]["ok"] is False


async def test_a_failed_message_ends_the_good_verdict_of_the_store(serve, client, monkeypatch):
    from prixfixe.stores.base import StoreError

    running = await serve()
    assert (await client.get(running.http + "/readyz")).status_code == 200

    async def probe():
        raise StoreError("full", kind="full")

    def put(_message):
        future = asyncio.get_running_loop().create_future()
        future.set_exception(StoreError("full", kind="full"))
        return future

    monkeypatch.setattr(running.server.store, "probe", probe)
    assert (await client.get(running.http + "/readyz")).status_code == 200  # still fresh
    monkeypatch.setattr(running.server.store, "put", put)
    wire = await running.say_hello()
    await wire.ask(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n", 3)
    assert await wire.ask(b"x\r\n.\r\n") == [452]
    assert (await client.get(running.http + "/readyz")).status_code == 503


async def test_a_store_that_cannot_write_is_not_ready(serve, client, monkeypatch):
    from prixfixe.stores.base import StoreError

    running = await serve()

    async def probe():
        raise StoreError("secret path", kind="full")

    monkeypatch.setattr(running.server.store, "probe", probe)
    answer = await client.get(running.http + "/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["store"]["detail"] == "no room"
    assert "secret" not in answer.text


async def test_an_announced_probe_takes_no_slot(serve, client):
    running = await serve(SMTP_MAX_CONNECTIONS="1")
    await running.connect()
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        await client.get(f"{running.http}/readyz?probe={port}")
        probe.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(probe, ("127.0.0.1", running.port))
        assert (await loop.sock_recv(probe, 100)).startswith(b"220 ")
    other = await running.connect(greet=False)
    assert (await other.rest()).startswith(b"421 4.3.2")


async def test_metrics(serve, client):
    running = await serve()
    await deliver(running)
    answer = await client.get(running.http + "/metrics")
    line = 'prixfixe_messages_total{listener="smtp",reason="none",result="accepted"} 1.0'
    assert line in answer.text
    assert "prixfixe_metrics_defects_total 0.0" in answer.text
    assert 'prixfixe_store_messages{backend="memory"} 1.0' in answer.text
    assert 'prixfixe_ready{check="store"} 1.0' in answer.text
    assert "free_bytes{" not in answer.text
    assert 'prixfixe_log_records_total{level="info"}' in answer.text


async def test_list_and_summary(serve, client):
    running = await serve()
    first, second = await deliver(running), await deliver(running, b"Subject: two\r\n\r\n")
    page = (await client.get(running.http + "/api/v1/messages?limit=1")).json()
    assert (page["total"], page["count"], page["messages_count"]) == (2, 1, 2)
    assert page["messages"][0]["ID"] == second
    page = (await client.get(running.http + "/api/v1/messages?start=1")).json()
    summary = page["messages"][0]
    assert summary["ID"] == first
    assert summary["Subject"] == "hé one"
    assert summary["From"] == {"Name": "Alice", "Address": "a@x.test"}
    assert summary["Bcc"] == [{"Name": "", "Address": "hidden@y.test"}]
    assert (summary["Attachments"], summary["Snippet"]) == (1, "hello words")


async def test_one_message(serve, client):
    running = await serve()
    name = await deliver(running)
    base = f"{running.http}/api/v1/message/{name}"
    detail = (await client.get(base)).json()
    assert detail == (await client.get(f"{running.http}/api/v1/message/latest")).json()
    assert detail["Text"] == "hello words"
    assert detail["HTML"] == "<script>alert(1)</script>"
    assert detail["Attachments"] == [
        {
            "PartID": "3",
            "FileName": "a.bin",
            "ContentType": "application/x-test",
            "ContentID": "",
            "Size": 3,
            "Checksums": {
                "MD5": hashlib.md5(b"\0\1\2").hexdigest(),
                "SHA1": hashlib.sha1(b"\0\1\2").hexdigest(),
                "SHA256": hashlib.sha256(b"\0\1\2").hexdigest(),
            },
        }
    ]
    part = await client.get(base + "/part/3")
    assert part.content == b"\0\1\2"
    assert part.headers["content-disposition"] == 'attachment; filename="a.bin"'
    html = await client.get(base + "/part/2")
    assert html.headers["content-type"] == "application/octet-stream"
    assert "sandbox" in html.headers["content-security-policy"]
    raw = (await client.get(base + "/raw")).content
    assert raw.startswith(b"Return-Path: <a@x.test>\r\nReceived: from c.test ")
    assert raw.endswith(MAIL)
    headers = (await client.get(base + "/headers")).json()
    assert headers["Subject"] == ["=?utf-8?q?h=C3=A9?= one"]
    envelope = (await client.get(base + "/envelope")).json()
    assert envelope["From"] == "a@x.test"
    assert envelope["FromParams"] == {"BODY": "8BITMIME"}
    assert [one["Address"] for one in envelope["To"]] == ["b@y.test", "hidden@y.test"]
    assert envelope["Size"] == len(MAIL)
    assert envelope["RawSize"] == len(raw)


async def test_hostile_mail_hides_no_other_mail(serve, client):
    running = await serve()
    for body in (
        b"Subject: =?utf-8?b?a?=\r\nDate: Tue, 24 Nov 2026 10:00:00 -0000\r\n\r\n",
        b"From: " + b"(" * 5000 + b"\r\n\r\n",
        b"Content-Type: text/plain; charset=undefined\r\n\r\nx\r\n",
    ):
        name = await deliver(running, body)
        answer = await client.get(f"{running.http}/api/v1/message/{name}")
        assert answer.status_code == 200
        assert answer.json()["Date"].endswith("Z")
    page = (await client.get(running.http + "/api/v1/messages")).json()
    assert page["count"] == 3
    assert (await client.get(running.http + "/api/v1/search?query=word")).status_code == 200


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (b"text/ht\r\n ml; x=y", "application/octet-stream"),
        (b"text/h\x01ml; x=y", "application/octet-stream"),
        (b"text/\xc3\xa4", "application/octet-stream"),
        (b"text/" + b"x" * 900, "application/octet-stream"),
        (b"application/vnd.x-y+xml", "application/vnd.x-y+xml"),
    ],
    ids=["folded", "control", "8-bit", "long", "good"],
)
async def test_a_part_of_any_type_can_be_fetched(serve, client, written, sent):
    running = await serve()
    await deliver(running, b"Content-Type: " + written + b"\r\n\r\nhi\r\n")
    answer = await client.get(running.http + "/api/v1/message/latest/part/1")
    assert (answer.status_code, answer.content) == (200, b"hi\r\n")
    assert answer.headers["content-type"] == sent


@pytest.mark.parametrize(
    ("header", "kind", "disposition"),
    [
        (b"Content-Type: image/png; name=a.png", "image/png", 'attachment; filename="a.png"'),
        (b"Content-Type: image/svg+xml", "application/octet-stream", 'attachment; filename="part-1.svg"'),
        (b"Content-Type: text/html; name=x.html", "application/octet-stream", 'attachment; filename="x.html"'),
        (b"Content-Type: message/rfc822", "message/rfc822", 'attachment; filename="part-1.eml"'),
        (
            b'Content-Disposition: attachment; filename="../=?utf-8?q?=C3=A4_b?=.txt"',
            "text/plain",
            "attachment; filename=\"_ b.txt\"; filename*=UTF-8''%C3%A4%20b.txt",
        ),
        (
            b"Content-Disposition: attachment; filename*=utf-8''a%0D%0AX%3A%20y%22%E2%80%AE.txt",
            "text/plain",
            "attachment; filename=\"aX_ y_.txt\"; filename*=UTF-8''aX%3A%20y%22.txt",
        ),
    ],
    ids=["named", "active", "html", "message", "beyond ASCII", "hostile"],
)  # fmt: skip
async def test_a_download_has_its_name_and_a_safe_type(serve, client, header, kind, disposition):
    running = await serve()
    await deliver(running, header + b"\r\n\r\nhi\r\n")
    answer = await client.get(running.http + "/api/v1/message/latest/part/1")
    assert (answer.status_code, answer.content) == (200, b"hi\r\n")
    assert answer.headers["content-type"] == kind
    said = answer.headers["content-disposition"]
    assert said == disposition


async def test_words_that_html_hides_are_not_found(serve, client):
    running = await serve()
    html = (
        b"<style>p{color:red}</style><p>Click <a href='http://l.test'>here</a>, Stra\xc3\x9fe</p>"
    )
    await deliver(running, b"Content-Type: text/html; charset=utf-8\r\n\r\n" + html + b"\r\n")

    async def count(query):
        answer = await client.get(running.http + "/api/v1/search", params={"query": query})
        return answer.json()["messages_count"]

    for query in ('"Click here"', "STRASSE", "l.test", '"click  HERE"'):
        assert await count(query) == 1, query
    for query in ("color", "href", "style"):
        assert await count(query) == 0, query


async def test_search(serve, client):
    running = await serve()
    name = await deliver(running)
    await deliver(running, b"Subject: other\r\n\r\n", to=(b"z@y.test",))

    async def found(query):
        answer = await client.get(running.http + "/api/v1/search", params={"query": query})
        return [one["ID"] for one in answer.json()["messages"]]

    assert await found("to:hidden@y.test") == [name]
    assert await found("message-id:m1@x.test") == [name]
    assert await found('subject:"hé one"') == [name]
    assert await found("words -subject:other") == [name]
    assert await found("to:nobody") == []
    page = (await client.get(running.http + "/api/v1/search?query=from:a@x.test&start=1")).json()
    assert (page["count"], page["messages_count"], page["start"]) == (1, 2, 1)
    assert page["messages"][0]["ID"] == name


async def test_delete(serve, client):
    running = await serve()
    names = [await deliver(running, b"Subject: %d\r\n\r\n" % n) for n in range(4)]
    url = running.http + "/api/v1/messages"

    async def left():
        return [one["ID"] for one in (await client.get(url)).json()["messages"]]

    await client.request("DELETE", url, json={"IDs": names[:1]})
    assert await left() == names[:0:-1]
    await client.request("DELETE", url, data={"ids": names[1]})
    assert await left() == names[:1:-1]
    await client.request("DELETE", running.http + "/api/v1/search", params={"query": "subject:2"})
    assert await left() == names[3:]
    assert (await client.request("DELETE", url, json={"ids": ["nope"]})).status_code == 200
    half = b'{"ids": ["\\ud800"]}'
    assert (await client.request("DELETE", url, content=half)).status_code == 200
    assert await left() == names[3:]
    as_curl = {"Content-Type": "application/x-www-form-urlencoded"}
    extra = await deliver(running, b"Subject: 4\r\n\r\n")
    body = json.dumps({"IDs": [extra]}).encode()
    await client.request("DELETE", url, content=body, headers=as_curl)
    assert await left() == names[3:]
    await client.delete(url)
    assert await left() == []
    await deliver(running, b"Subject: 5\r\n\r\n")
    await client.request("DELETE", url, json={"IDs": []})
    assert await left() == []


FOLDED = b"x" * 70 + b"\r\n "
BEYOND = {
    "subject": ("-subject:keep", b"Subject: " + FOLDED * 60 + b"keep\r\n\r\n"),
    "second subject": ("-subject:keep", b"Subject: x\r\nSubject: keep\r\n\r\n"),
    "message id": ("-message-id:keep", b"Message-ID: <" + FOLDED * 60 + b"keep>\r\n\r\n"),
    "characters": ("-to:keep", b"To: " + b"a@x.test,\r\n " * 500 + b"keep@x.test\r\n\r\n"),
    "addresses": ("-cc:keep", b"Cc: " + b"a@x.test,\r\n " * 200 + b"keep@x.test\r\n\r\n"),
    "second sender": ("-from:keep", b"From: a@x.test, keep@x.test\r\n\r\n"),
    "unreadable": ("!to:keep", b"To: " + b"(" * 500 + b" keep@x.test\r\n\r\n"),
    "passed over": ("!to:keep", b"To: a@x.test keep@x.test\r\n\r\n"),
    "word": ("!keep", b"Subject: " + FOLDED * 60 + b"keep\r\n\r\n"),
    "header": ("-subject:keep", b"X: x\r\n" * 50_000 + b"Subject: keep\r\n\r\n"),
    "body": (
        "-keep",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nkeep\r\n" * 1001,
    ),
}


@pytest.mark.parametrize(("query", "body"), BEYOND.values(), ids=BEYOND)
async def test_a_negated_delete_takes_nothing_that_a_whole_look_would_keep(
    serve, client, query, body
):
    running = await serve()
    kept = await deliver(running, body)
    await deliver(running, b"Subject: gone\r\nTo: b@y.test, c@y.test\r\n\r\nwords\r\n")
    url = f"{running.http}/api/v1/search"
    found = (await client.get(url, params={"query": query})).json()["messages"]
    assert kept not in [one["ID"] for one in found]
    await client.request("DELETE", url, params={"query": query})
    left = (await client.get(running.http + "/api/v1/messages")).json()["messages"]
    assert [one["ID"] for one in left] == [kept]


async def test_a_negated_delete_looks_at_all_recipients_that_no_field_names(serve, client):
    running = await serve(SMTP_MAX_RECIPIENTS="300")
    await deliver(running, to=[b"u%d@y.test" % number for number in range(250)])
    await client.request("DELETE", f"{running.http}/api/v1/search", params={"query": "-bcc:u249"})
    assert (await client.get(running.http + "/api/v1/info")).json()["Messages"] == 1


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("messages?start=abc", "start: expected a whole number from 0 to 1000000000"),
        ("messages?start=1000000001", "start: expected a whole number from 0 to 1000000000"),
        ("messages?start=" + "0" * 5000, "start: expected a whole number from 0 to 1000000000"),
        ("search?query=x&limit=-1", "limit: expected a whole number from 0 to 1000"),
        ("wait?query=x&count=2.5", "count: expected a whole number from 0 to 1000"),
        ("wait?query=x&timeout=nan", "timeout: expected a number from 0 to 300"),
    ],
)
async def test_a_number_that_is_none_is_named_with_its_bounds(serve, client, path, told):
    answer = await client.get(f"{(await serve()).http}/api/v1/{path}")
    assert (answer.status_code, answer.json()) == (400, {"Error": told})


async def test_reading_a_message_marks_it_and_no_other_as_read(serve, client):
    running = await serve()
    names = [await deliver(running, b"Subject: x\r\n\r\n") for _ in range(2)]
    api = running.http + "/api/v1/"
    for path in ("messages", f"message/{names[0]}/raw", f"message/{names[0]}/headers"):
        await client.get(api + path)
    assert (await client.get(api + "messages")).json()["unread"] == 2
    detail = (await client.get(f"{api}message/{names[0]}")).json()
    listed = (await client.get(api + "messages")).json()
    assert (detail["ID"], detail["Read"], listed["unread"]) == (names[0], True, 1)
    assert [one["Read"] for one in listed["messages"]] == [False, True]


WRONG_JSON = [
    b"{",
    b"5",
    b"[]",
    b'""',
    b"null",
    b"[" * 100_000,
    b'{"IDs": 5}',
    b'{"IDs": null}',
    b'{"IDs": ""}',
    b'{"IDs": [""]}',
    b'{"IDs": [" "]}',
    b'{"Id": ["x"]}',
    b'{"IDs": [], "x": 1}',
    b'{"IDs": ["x"], "ids": []}',
    b'{"IDs": ["x"], "IDs": []}',
]
WRONG_FORMS = [b"foo=bar", b"IDs=", b"id=", b"Ids=&x=", b"IDs=x&ids=", b"IDs", b"IDs=%20", b"&"]
WRONG_QUERIES = [
    "!is:nothing", "is:", "!has:legs", "-before:tomorrow", "after:x", "larger:big", "smaller:0",
    "!to:", "before:x", "to:", "to: b@y.test", "tag:", "-larger:1X",
    'subject:0 to:""', 'subject:0 !""', "message-id:<>", "-form:alice", "!sender:", "--to:x",
]  # fmt: skip


async def test_a_delete_that_is_not_understood_deletes_nothing(serve, client):
    running = await serve()
    kept = [await deliver(running, b"Subject: 0\r\n\r\n") for _ in range(2)]
    url, search = (f"{running.http}/api/v1/{path}" for path in ("messages", "search"))
    kinds = {
        "application/json": WRONG_JSON,
        "application/x-www-form-urlencoded": [*WRONG_FORMS, *WRONG_JSON],
    }
    asked = [
        client.build_request("DELETE", url, content=body, headers={"Content-Type": kind})
        for kind, bodies in kinds.items()
        for body in bodies
    ]
    asked += [client.build_request("DELETE", search, params={"query": q}) for q in WRONG_QUERIES]
    for path in ("search", "wait"):
        where = f"{running.http}/api/v1/{path}"
        asked += [client.build_request("GET", where, params={"query": q}) for q in WRONG_QUERIES]
    asked += [client.build_request("DELETE", url, params={"IDs": kept[0]})]
    understood = [one for one in asked if (await client.send(one)).status_code != 400]
    assert [(str(one.url), one.content) for one in understood] == []
    assert (await client.get(url)).json()["count"] == 2


async def test_info_tells_what_the_server_did(serve, client):
    running = await serve()
    await deliver(running, b"Subject: one\r\n\r\n")
    await deliver(running, b"Subject: two\r\n\r\n")
    wire = await running.connect()
    assert await wire.ask(b"EHLO x\r\nMAIL FROM:<a@b.c> SIZE=99999999999\r\n", 2) == [250, 552]
    assert (await client.delete(running.http + "/api/v1/messages")).status_code == 200
    stats = (await client.get(running.http + "/api/v1/info")).json()["RuntimeStats"]
    assert stats.pop("Uptime") >= 0
    assert stats.pop("Memory") > 1 << 20
    assert stats == {
        "MessagesDeleted": 2,
        "SMTPAccepted": 2,
        "SMTPAcceptedSize": 2 * len(b"Subject: one\r\n\r\n"),
        "SMTPRejected": 1,
        "SMTPIgnored": 0,
    }


async def test_info(serve, client):
    running = await serve()
    await deliver(running)
    info = (await client.get(running.http + "/api/v1/info")).json()
    assert info["Messages"] == 1
    assert info["Database"] == "memory"


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/nope", 404, "Not Found"),
        ("/api/v1/message/nope", 404, "no such message"),
        ("/api/v1/message/latest/part/9", 404, "no such part"),
        ("/api/v1/search", 400, "query: expected"),
        ("/api/v1/search?query=%22", 400, "query: a quote"),
        ("/api/v1/messages?start=x", 400, "start: expected"),
        ("/api/v1/messages?limit=-1", 400, "limit: expected"),
        ("/api/v1/wait?query=x&timeout=9999", 400, "timeout: expected"),
        ("/api/v1/wait?query=absent&timeout=0", 408, "0 of 1"),
    ],
)
async def test_errors_are_json_with_a_message(serve, client, path, status, error):
    running = await serve()
    await deliver(running)
    answer = await client.get(running.http + path)
    assert answer.status_code == status
    assert answer.json()["Error"].startswith(error)


async def test_wrong_method_and_oversized_body(serve, client):
    running = await serve()
    answer = await client.post(running.http + "/api/v1/messages")
    assert answer.status_code == 405
    answer = await client.request(
        "DELETE", running.http + "/api/v1/messages", content=b"x" * (1 << 20) + b"y"
    )
    assert answer.status_code == 413


async def test_token_guards_the_api_alone(serve, client):
    running = await serve(SMTP_HTTP_TOKEN="hush")
    url = running.http + "/api/v1/messages"
    answer = await client.get(url)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert (await client.get(url, headers={"Authorization": "Bearer wrong"})).status_code == 401
    assert (await client.get(url, headers={"Authorization": "Bearer hush"})).status_code == 200
    assert (await client.get(running.http + "/livez")).status_code == 200


async def test_unexpected_errors_say_nothing(serve, client, monkeypatch):
    running = await serve()
    monkeypatch.setattr("prixfixe.http.api.mailbox.Mailbox.totals", lambda _: 1 / 0)
    answer = await client.get(running.http + "/api/v1/info")
    assert (answer.status_code, answer.json()) == (500, {"Error": "internal error"})


# --- waiting


async def test_wait_finds_what_is_there(serve, client):
    running = await serve()
    name = await deliver(running)
    answer = await client.get(running.http + "/api/v1/wait?query=to:b@y.test")
    assert [one["ID"] for one in answer.json()["messages"]] == [name]


async def test_wait_wakes_every_matching_waiter(serve, client):
    running = await serve()
    arrivals = running.server.arrivals

    def ask(query, **more):
        params = {"query": query, "timeout": 60, **more}
        return asyncio.create_task(client.get(running.http + "/api/v1/wait", params=params))

    waits = [ask("to:b@y.test"), ask("from:a@x.test"), ask("to:b@y.test", count=2)]
    await until(lambda: arrivals.waiters == 3)
    first = await deliver(running)
    one, two = await waits[0], await waits[1]
    assert [answer.json()["messages"][0]["ID"] for answer in (one, two)] == [first, first]
    assert not waits[2].done()
    second = await deliver(running)
    both = (await waits[2]).json()
    assert [message["ID"] for message in both["messages"]] == [second, first]
    await until(lambda: arrivals.waiters == 0)


async def test_a_read_right_after_the_250_never_misses(serve, client):
    running = await serve()
    for _ in range(20):
        name = await deliver(running)
        page = (await client.get(running.http + "/api/v1/messages?limit=1")).json()
        assert page["messages"][0]["ID"] == name


async def test_a_wait_searches_once_for_each_overrun(serve, client, monkeypatch):
    from prixfixe.http.api.mailbox import Mailbox

    running = await serve()
    monkeypatch.setattr(running.server.arrivals, "_backlog", 3)
    searches, search = [], Mailbox.newest

    async def search_while_mail_comes(mailbox, query, *page):
        searches.append(query)
        found = await search(mailbox, query, *page)
        for _ in range(5 if len(searches) == 1 else 0):
            await deliver(running)
        return found

    monkeypatch.setattr(Mailbox, "newest", search_while_mail_comes)
    wait = asyncio.create_task(client.get(running.http + "/api/v1/wait?query=subject:last"))
    await until(lambda: len(searches) == 2)
    await deliver(running)
    await deliver(running)
    last = await deliver(running, b"Subject: last\r\n\r\n")
    assert [one["ID"] for one in (await wait).json()["messages"]] == [last]
    assert len(searches) == 2


async def test_a_waiter_that_hangs_up_is_forgotten(serve):
    running = await serve()
    host, _, port = running.bound.http.rpartition(":")
    _reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /api/v1/wait?query=x&timeout=100 HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: running.server.arrivals.waiters == 1)
    writer.close()
    await writer.wait_closed()
    await until(lambda: running.server.arrivals.waiters == 0)


async def test_waiters_are_sent_away_when_the_server_stops(serve, client):
    running = await serve()
    wait = asyncio.create_task(client.get(running.http + "/api/v1/wait?query=x&timeout=100"))
    await until(lambda: running.server.arrivals.waiters == 1)
    stopping = asyncio.create_task(running.server.stop())
    assert (await wait).status_code == 503
    await stopping


# --- a reading thread that is busy


@pytest.fixture
async def busy(serve, client):
    """Return a server whose reading thread works until the test is over."""
    running, done = await serve(), threading.Event()
    name = await deliver(running)
    mailbox = running.server._http._mailbox
    begun = threading.Event()

    def work(_message):
        begun.set()
        done.wait(120)  # What waits for the thread fails by its own deadline before.

    task = asyncio.create_task(mailbox.view(name, work))
    await asyncio.to_thread(begun.wait, PATIENCE)
    yield running
    done.set()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_scrape_waits_for_no_search(busy, client):
    answer = await client.get(busy.http + "/metrics")
    assert answer.status_code == 200
    assert (await client.get(busy.http + "/readyz")).status_code == 200


async def test_stopping_waits_for_no_search(busy, client):
    queue = busy.server._http._mailbox._thread._queue
    asked = asyncio.create_task(client.get(busy.http + "/api/v1/info"))
    await until(lambda: not queue.empty())
    async with asyncio.timeout(60):
        await busy.server.stop()
    answer = await asked
    assert (answer.status_code, answer.json()) == (503, {"Error": "the server is shutting down"})


def test_the_interpreter_ends_while_the_thread_works():
    program = (
        "import threading; from prixfixe.runtime.worker import Worker\n"
        "worker, begun = Worker('x'), threading.Event()\n"
        "worker.submit(lambda: (begun.set(), threading.Event().wait()))\n"
        "begun.wait(); print('end')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], timeout=60, check=True, capture_output=True, text=True
    )
    assert (ended.stdout, ended.stderr) == ("end\n", "")


async def test_reading_needs_no_new_thread(serve, client, monkeypatch):
    running = await serve()
    await deliver(running)

    def start(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    for path in ("/api/v1/messages", "/api/v1/search?query=words", "/metrics", "/readyz"):
        assert (await client.get(running.http + path)).status_code == 200


# --- a client that nobody here wrote


def through_mailpit_client(url, name):
    from mailpit.client.api import API

    api = API(url, timeout=PATIENCE)
    listed = api.get_messages(limit=10)
    message = api.get_message(name)
    attachment = api.get_message_attachment(name, message.attachments[0].part_id)
    headers = api.get_message_headers(name)
    api.delete_messages([name])
    return listed, message, attachment, headers


async def test_mailpit_api_client_works_unchanged(serve, client):
    running = await serve()
    name = await deliver(running, b"Delivered-To: b@y.test\r\nX-Other: 1\r\n" + MAIL)
    await deliver(running, b"Subject: stays\r\n\r\n")
    found = await asyncio.to_thread(through_mailpit_client, running.http, name)
    listed, message, attachment, headers = found
    assert listed.total == 2
    assert [one.id for one in listed.messages][1] == name
    assert message.subject == "hé one"
    assert message.to[0].address == "b@y.test"
    assert attachment == "\0\1\2"
    assert headers.content_type == ["multipart/mixed; boundary=b"]
    left = (await client.get(running.http + "/api/v1/messages")).json()
    assert [one["Subject"] for one in left["messages"]] == ["stays"]
    json.dumps(left)
