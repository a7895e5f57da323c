"""The inbox page over a real listener: its files, mail for frames, who may have what."""

import asyncio
import base64
import http.cookies
import re
from pathlib import Path

import pytest

import prixfixe.http
from prixfixe.http import connection
from prixfixe.http.access import COOKIE_SECONDS, TICKET_SECONDS, Access
from prixfixe.http.page.files import FILES, PAGE_POLICY
from prixfixe.http.page.mail_html import MAX_EMBEDDED, viewed_html
from prixfixe.mail.mime import parse_message
from tests.conftest import PATIENCE
from tests.unit.test_http import deliver

WEB = Path(prixfixe.http.__file__).parent / "web"
PNG = base64.b64encode(b"\x89PNG picture")
MAIL = (
    b"From: a@x.test\r\nTo: b@y.test\r\nSubject: s\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/related; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/html\r\n\r\n"
    b'<link rel=preconnect href=//e.test><a href="http://l.test" target=_top rel=opener>x</a>'
    b'<img src="cid:logo@x"><img src=cid:none><img src=http://e.test/p.gif>\r\n'
    b"--b\r\nContent-Type: image/png\r\nContent-ID: <logo@x>\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n" + PNG + b"\r\n--b--\r\n"
)
BEARER = {"Authorization": "Bearer secret"}


# --- files


async def test_the_page_is_served_with_a_policy_that_lets_nothing_else_run(serve, client):
    running = await serve()
    for path, name in FILES.items():
        answer = await client.get(running.http + path)
        assert answer.status_code == 200, path
        assert answer.content == (WEB / name).read_bytes()
        said = answer.headers
        assert said.get_list("content-security-policy") == [PAGE_POLICY]
        assert said["cross-origin-opener-policy"] == "same-origin"
        assert said["cross-origin-resource-policy"] == "same-origin"
        assert said["x-content-type-options"] == "nosniff"
        assert said["referrer-policy"] == "no-referrer"
        assert said["cache-control"] == "no-store"
        assert not [one for one in said if one.startswith("access-control")]


def test_the_policy_is_default_deny():
    said = dict(one.split(" ", 1) for one in PAGE_POLICY.split("; "))
    assert said["default-src"] == "'none'"
    assert said["script-src"] == said["style-src"] == said["frame-src"] == "'self'"
    assert said["connect-src"] == "'self'"
    assert said["img-src"] == "'self' data:"
    assert said["form-action"] == said["base-uri"] == said["frame-ancestors"] == "'none'"
    assert said["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in PAGE_POLICY


def test_every_file_of_the_page_has_a_route_and_is_within_the_bound():
    names = {path.name for path in WEB.iterdir()}
    assert names == set(FILES.values())
    weighed = [path for path in WEB.iterdir() if path.suffix in (".html", ".css", ".js")]
    assert sum(path.stat().st_size for path in weighed) <= 60_000


def test_no_file_of_the_page_writes_markup_or_names_another_host():
    for path in WEB.iterdir():
        text = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
        assert not re.search(r"\son\w+=\"|style=\"|<script>|<style", text), path.name
        hosts = set(re.findall(r"https?://([a-z0-9-]+\.[a-z0-9.]+)", text))
        assert hosts <= {"www.w3.org"}, path.name


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_the_page_is_only_read(serve, client, method):
    running = await serve()
    assert (await client.request(method, running.http)).status_code in (404, 405)


async def test_the_page_can_be_off(serve, client):
    running = await serve(SMTP_HTTP_UI="off")
    await deliver(running, MAIL)
    for path in ("/", "/web/app.js", "/view/latest", "/view/latest.html", "/view/latest.txt"):
        assert (await client.get(running.http + path)).status_code == 404, path
    assert (await client.get(f"{running.http}/api/v1/messages")).status_code == 200


async def test_a_link_of_mailpits_leads_to_the_page(serve, client):
    running = await serve(SMTP_HTTP_TOKEN="secret")
    answer = await client.get(f"{running.http}/view/abc")
    assert (answer.status_code, answer.headers["location"]) == (302, "/#id=abc")
    answer = await client.get(f"{running.http}/view/%22%0d%0aX: y")
    assert answer.headers["location"] == "/#id=%22%0D%0AX%3A%20y"
    assert "x" not in answer.headers


async def test_files_are_not_found_by_other_paths(serve, client):
    running = await serve()
    for path in (
        "/web/",
        "/web/../app.py",
        "/web/%2e%2e/app.py",
        "/web/index.html",
        "/web/app.js/",
    ):
        assert (await client.get(running.http + path)).status_code == 404, path


# --- Host, token, cookie


async def test_the_token_is_not_needed_for_files_and_is_for_mail(serve, client):
    running = await serve(SMTP_HTTP_TOKEN="secret")
    name = await deliver(running, MAIL)
    for path in FILES:
        assert (await client.get(running.http + path)).status_code == 200, path
    for path in (f"/view/{name}.html", f"/view/{name}.txt", "/view/latest.html", "/api/v1/events"):
        assert (await client.get(running.http + path)).status_code == 401, path
        if "events" not in path:
            assert (await client.get(running.http + path, headers=BEARER)).status_code == 200, path
    for path in ("/view/access", f"/view/{name}/remote"):
        assert (await client.post(running.http + path)).status_code == 401, path


async def test_the_page_is_for_known_hosts_only(serve, client):
    running = await serve()
    evil = {"Host": "evil.example.com"}
    for path in (*FILES, "/view/latest.html", "/api/v1/events", "/%77eb/app.js", "//view/x.html"):
        assert (await client.get(running.http + path, headers=evil)).status_code == 421, path


async def test_a_frame_loads_mail_by_a_cookie_and_nothing_else_does(serve, client):
    running = await serve(SMTP_HTTP_TOKEN="secret")
    name = await deliver(running, MAIL)
    answer = await client.post(f"{running.http}/view/access", headers=BEARER)
    assert answer.status_code == 204
    said = answer.headers["set-cookie"]
    assert "secret" not in said
    (cookie,) = http.cookies.SimpleCookie(said).values()
    assert (cookie["path"], cookie["samesite"], cookie["httponly"]) == ("/view", "Strict", True)
    assert int(cookie["max-age"]) == COOKIE_SECONDS
    client.cookies.clear()
    sent = {"Cookie": f"other=1; {cookie.key}={cookie.value}"}
    for path in (f"/view/{name}.html", f"/view/{name}.txt"):
        assert (await client.get(running.http + path, headers=sent)).status_code == 200, path
    for path in ("/api/v1/messages", "/api/v1/events", f"/api/v1/message/{name}/raw"):
        assert (await client.get(running.http + path, headers=sent)).status_code == 401, path
    for path in ("/view/access", f"/view/{name}/remote"):
        assert (await client.post(running.http + path, headers=sent)).status_code == 401, path
    wrong = {"Cookie": f"{cookie.key}={cookie.value[:-1]}x"}
    assert (await client.get(f"{running.http}/view/{name}.html", headers=wrong)).status_code == 401


async def test_without_a_token_no_cookie_is_set(serve, client):
    running = await serve()
    answer = await client.post(f"{running.http}/view/access")
    assert (answer.status_code, answer.headers.get("set-cookie")) == (204, None)


def test_what_is_signed_ends_and_is_for_one_purpose():
    now = [1000.0]
    access = Access("secret", clock=lambda: now[0])
    ticket = access.ticket("a")
    assert access.takes(ticket, "a")
    assert not access.takes(ticket, "b")
    assert not Access("other").takes(ticket, "a")
    for wrong in ("", ".", "zz.00", ticket[1:], f"f{ticket}", f"\x00{ticket}", "é.é"):
        assert not access.takes(wrong, "a"), wrong
    now[0] += TICKET_SECONDS
    assert not access.takes(ticket, "a")
    assert Access(None).cookie() is None
    assert (
        Access("secret").ticket("a").partition(".")[2] != Access(None).ticket("a").partition(".")[2]
    )


# --- mail for frames


async def test_mail_is_dead_wherever_it_is_opened(serve, client):
    running = await serve()
    name = await deliver(running, MAIL)
    answer = await client.get(f"{running.http}/view/{name}.html?embed=1")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    (policy,) = answer.headers.get_list("content-security-policy")
    said = dict(one.partition(" ")[::2] for one in policy.split("; "))
    assert said["sandbox"] == "allow-popups allow-popups-to-escape-sandbox"
    assert said["default-src"] == said["form-action"] == said["base-uri"] == "'none'"
    assert (said["img-src"], said["style-src"]) == ("data:", "'unsafe-inline'")
    assert said["frame-ancestors"] == "'self'"
    assert "script-src" not in said
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-dns-prefetch-control"] == "off"


async def test_remote_content_is_a_choice_that_no_link_can_make(serve, client):
    running = await serve()
    name = await deliver(running, MAIL)
    view = f"{running.http}/view/{name}"
    for foreign in (
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        assert (await client.post(f"{view}/remote", headers=foreign)).status_code == 403
    assert (await client.get(f"{view}/remote")).status_code in (404, 405)
    ticket = (await client.post(f"{view}/remote")).json()["Ticket"]
    answer = await client.get(f"{view}.html?embed=1&ticket={ticket}")
    assert "img-src data: https: http:" in answer.headers["content-security-policy"]
    assert "<link rel=preconnect" in answer.text
    for wrong in ("", "1", ticket[:-1]):
        assert (await client.get(f"{view}.html?ticket={wrong}")).status_code == 403
    other = await deliver(running, MAIL)
    assert (
        await client.get(f"{running.http}/view/{other}.html?ticket={ticket}")
    ).status_code == 403
    plain = await client.get(f"{view}.html")
    assert "http:" not in plain.headers["content-security-policy"]


async def test_pictures_of_the_mail_are_in_it_and_links_open_elsewhere(serve, client):
    running = await serve()
    name = await deliver(running, MAIL)
    for path in (f"/view/{name}.html", f"//view/{name}.html", "/view/latest.html?query=subject:s"):
        answer = await client.get(running.http + path)
        assert answer.status_code == 200, path
    assert f'src="data:image/png;base64,{PNG.decode()}"' in answer.text
    assert "src=cid:none" in answer.text
    assert '<link rel="none" rel=preconnect' in answer.text
    assert (
        '<a target="_blank" rel="noopener noreferrer" href="http://l.test" target=_top'
        in answer.text
    )


async def test_text_and_mail_without_html(serve, client):
    running = await serve()
    name = await deliver(running, b"Subject: s\r\n\r\n<b>hi</b>\r\n")
    answer = await client.get(f"{running.http}/view/{name}.txt")
    assert (answer.text, answer.headers["content-type"]) == (
        "<b>hi</b>\n",
        "text/plain; charset=utf-8",
    )
    assert "sandbox" in answer.headers["content-security-policy"]
    for path in (f"{name}.html", "nothing.html", "nothing.txt"):
        assert (await client.get(f"{running.http}/view/{path}")).status_code == 404, path
    assert (await client.get(f"{running.http}/view/{name}.html?remote=1")).status_code == 400


def test_pictures_are_bounded_however_often_they_are_shown():
    picture = base64.b64encode(b"x" * 300_000)
    body = MAIL.replace(PNG, picture).replace(b"cid:none", b"cid:logo@x> <img src=cid:logo@x" * 100)
    assert len(viewed_html(parse_message(body))) < MAX_EMBEDDED + 100_000


def test_only_pictures_are_embedded():
    body = MAIL.replace(b"image/png", b"text/html")
    assert "data:" not in viewed_html(parse_message(body))


# --- the tree


async def test_the_tree_names_every_part(serve, client):
    running = await serve()
    name = await deliver(running, MAIL)
    tree = (await client.get(f"{running.http}/api/v1/message/{name}/tree")).json()
    assert [(one["PartID"], one["ContentType"]) for one in tree["Parts"]] == [
        ("", "multipart/related"),
        ("1", "text/html"),
        ("2", "image/png"),
    ]
    assert tree["Parts"][2]["ContentID"] == "logo@x"
    assert tree["Parts"][2]["Size"] == len(PNG)
    assert (await client.get(f"{running.http}/api/v1/message/x/tree")).status_code == 404


# --- events


class Listener:
    """One who reads events from a socket."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def head(self):
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)

    async def event(self):
        """Return the next event's name, id and data; comments are passed over."""
        while True:
            block = await asyncio.wait_for(self.reader.readuntil(b"\n\n"), PATIENCE)
            found = dict(re.findall(rb"^(event|id|data): (.*)$", block, re.MULTILINE))
            if found:
                return tuple(found.get(name, b"").decode() for name in (b"event", b"id", b"data"))


@pytest.fixture
async def listen():
    opened = []

    async def listen(running, *fields, method="GET"):
        host, _, port = running.bound.http.rpartition(":")
        listener = Listener(*await asyncio.open_connection(host, int(port)))
        opened.append(listener)
        lines = (f"{method} /api/v1/events HTTP/1.1", "Host: x", *fields, "", "")
        listener.writer.write("\r\n".join(lines).encode())
        return listener

    yield listen
    for one in opened:
        one.writer.close()


async def test_events_tell_of_new_read_and_deleted_mail(serve, client, listen):
    running = await serve()
    listener = await listen(running)
    head = (await listener.head()).lower()
    assert head.startswith(b"http/1.1 200")
    assert b"content-type: text/event-stream; charset=utf-8" in head
    assert b"access-control" not in head
    name = await deliver(running, MAIL)
    event, number, data = await listener.event()
    assert (event, number) == ("new", name)
    assert f'"ID":"{name}"' in data
    await client.get(f"{running.http}/api/v1/message/{name}")
    assert await listener.event() == ("read", "", f'{{"IDs":["{name}"],"Read":true}}')
    await client.put(f"{running.http}/api/v1/messages", json={"Read": False, "IDs": [name]})
    assert (await listener.event())[0] == "read"
    await client.request("DELETE", f"{running.http}/api/v1/messages", json={"IDs": [name]})
    assert await listener.event() == ("deleted", "", f'{{"IDs":["{name}"]}}')
    await client.delete(f"{running.http}/api/v1/messages")
    assert (await listener.event())[0] == "reset"


async def test_who_comes_back_is_told_what_came_meanwhile(serve, listen):
    running = await serve()
    first = await deliver(running, MAIL)
    missed = [await deliver(running, MAIL) for _ in range(3)]
    listener = await listen(running, f"Last-Event-ID: {first}")
    await listener.head()
    assert [(await listener.event())[1] for _ in missed] == missed
    again = await deliver(running, MAIL)
    assert (await listener.event())[1] == again


async def test_who_missed_much_is_told_to_look_again(serve, listen, monkeypatch):
    monkeypatch.setattr("prixfixe.http.api.events.MAX_MISSED", 2)
    running = await serve()
    first = await deliver(running, MAIL)
    for _ in range(3):
        await deliver(running, MAIL)
    listener = await listen(running, f"Last-Event-ID: {first}")
    await listener.head()
    assert (await listener.event())[0] == "reset"


async def test_many_at_once_are_told_as_many(serve, listen, monkeypatch):
    monkeypatch.setattr("prixfixe.http.api.feed.MAX_AT_ONCE", 0)
    running = await serve()
    listener = await listen(running)
    await listener.head()
    name = await deliver(running, MAIL)
    assert await listener.event() == ("many", "", f'{{"ID":"{name}"}}')


async def test_streams_are_for_this_server_only_and_bounded(serve, client, listen, monkeypatch):
    monkeypatch.setattr("prixfixe.http.api.feed.MAX_STREAMS", 1)
    running = await serve()
    events = f"{running.http}/api/v1/events"
    for foreign in (
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        assert (await client.get(events, headers=foreign)).status_code == 403
    for path in ("/%61pi/v1/events", "/api/v1/%65vents"):
        foreign = {"Origin": "http://evil.test"}
        assert (await client.get(running.http + path, headers=foreign)).status_code == 403
    assert (await client.get(events, headers={"Last-Event-ID": "x"})).status_code == 400
    assert (await client.get(f"{events}?x=1")).status_code == 400
    assert (await client.head(events)).status_code == 200
    own = await listen(running, "Origin: http://x", "Sec-Fetch-Site: same-origin")
    assert b" 200 " in await own.head()
    assert (await client.get(events)).status_code == 503
    own.writer.close()


async def test_a_stream_says_that_it_is_there_and_ends_with_the_server(serve, listen, monkeypatch):
    monkeypatch.setattr("prixfixe.http.api.events.HEARTBEAT_SECONDS", 0.01)
    running = await serve()
    listener = await listen(running)
    await listener.head()
    for _ in range(3):
        assert b": here" in await asyncio.wait_for(listener.reader.readuntil(b"\n\n"), PATIENCE)
    running.server.arrivals.close()
    rest = await asyncio.wait_for(listener.reader.read(1 << 20), PATIENCE)
    while not rest.endswith(b"0\r\n\r\n"):
        more = await asyncio.wait_for(listener.reader.read(1 << 20), PATIENCE)
        assert more, rest
        rest += more
    other = await listen(running)
    assert b" 200 " in await other.head()  # and it ends at once
    while not rest.endswith(b"0\r\n\r\n\r\n"):
        more = await asyncio.wait_for(other.reader.read(1 << 20), PATIENCE)
        if not more or more.endswith(b"0\r\n\r\n"):
            break


async def test_a_stream_without_news_is_not_cut_for_lack_of_progress(serve, listen):
    running = await serve()
    listener = await listen(running)
    await listener.head()
    (one,) = running.server._http.connections.all
    one._since -= 10 * max(connection.ANSWER_SECONDS, connection.UNREAD_SECONDS)
    one._look()
    name = await deliver(running, MAIL)
    assert (await listener.event())[:2] == ("new", name)


async def test_a_stream_that_is_gone_is_forgotten(serve, listen):
    running = await serve()
    listener = await listen(running)
    await listener.head()
    assert running.server.arrivals.waiters == 1
    listener.writer.close()
    async with asyncio.timeout(PATIENCE):
        while running.server.arrivals.waiters:
            await asyncio.sleep(0.01)
