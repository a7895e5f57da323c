"""Who is answered over HTTP: every path and method, by Host, token and origin, on the wire."""

import asyncio

import pytest

from prixfixe.http.guard import Hosts
from tests.conftest import PATIENCE

OPEN = ("/livez", "/readyz", "/healthz", "/metrics")
GUARDED = (
    *(
        "/x",
        "/api",
        "/api/",
        "//api/v1/messages",
        "/API/v1/messages",
        "/nothing",
        "/api/v1/",
        "/livez/",
    ),
    *("/api/v1/messages", "/api/v1/messages/", "/%61pi/v1/messages", "/api/v1/../v1/messages"),
    *("/api/v1/search?query=x", "/api/v1/info", "/api/v1/wait?timeout=0", "/livez/../api/v1/info"),
    *("/api/v1/message/latest", "/api/v1/message/x/raw", "/api/v1/message/x/headers"),
    *(
        "/api/v1/message/x/envelope",
        "/api/v1/message/x/part/1",
        "/api/v1/info;x",
        "/livez%2F..%2Fapi",
    ),
    *("/%2Flivez", "/Livez", "/livez.", "api/v1/messages", "*", "/metrics/x"),
)
METHODS = ("GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH", "TRACE", "CONNECT", "FOO")


@pytest.fixture
async def asked(start):
    """Return what sends a head as it is and gives the status and the rest."""

    async def serve(**variables):
        running = await start(SMTP_HTTP_PORT="0", **variables)
        host, _, port = running.bound.http.rpartition(":")

        async def ask(line, *fields):
            reader, writer = await asyncio.open_connection(host, int(port))
            head = "".join(f"{one}\r\n" for one in (line, *fields, "Connection: close", ""))
            writer.write(head.encode("latin-1"))
            answer = await asyncio.wait_for(reader.read(), PATIENCE)
            writer.close()
            return int(answer.split()[1]), answer

        return ask

    return serve


@pytest.mark.parametrize("method", METHODS)
async def test_the_token_guards_every_path_and_method(asked, method):
    ask = await asked(SMTP_HTTP_TOKEN="secret")
    for path in GUARDED:
        status, answer = await ask(f"{method} {path} HTTP/1.1", "Host: x")
        assert status == 401, (method, path)
        assert b"www-authenticate: bearer" in answer.lower()
        assert b"x-content-type-options: nosniff" in answer.lower()
    for path in OPEN:
        assert (await ask(f"{method} {path} HTTP/1.1", "Host: x"))[0] != 401


@pytest.mark.parametrize("method", METHODS)
async def test_a_name_of_the_internet_is_misdirected_on_every_path_and_method(asked, method):
    ask = await asked()
    for path in GUARDED:
        assert (await ask(f"{method} {path} HTTP/1.1", "Host: evil.com"))[0] == 421, (method, path)
    for path in OPEN:
        assert (await ask(f"{method} {path} HTTP/1.1", "Host: evil.com"))[0] != 421


async def test_health_and_metrics_need_no_host(asked):
    ask = await asked(SMTP_HTTP_TOKEN="secret")
    for path in OPEN:
        assert (await ask(f"GET {path} HTTP/1.0"))[0] == 200
        assert (await ask(f"GET {path} HTTP/1.1", "Host:"))[0] == 200
    assert (await ask("GET /api/v1/info HTTP/1.0"))[0] == 421
    assert (await ask("GET /api/v1/info HTTP/1.1", "Host:"))[0] == 421


@pytest.mark.parametrize("path", ["/livez", "/api/v1/info", "http://x/api/v1/info"])
async def test_two_hosts_are_no_request(asked, path):
    ask = await asked()
    assert (await ask(f"GET {path} HTTP/1.1", "Host: x", "Host: x"))[0] == 400
    assert (await ask(f"GET {path} HTTP/1.1"))[0] == 400


async def test_an_absolute_target_is_judged_by_its_own_host(asked):
    ask = await asked(SMTP_HTTP_HOSTS="mail.example.com")
    for target, status in {
        "http://evil.com/api/v1/info": 421,
        "HTTP://Evil.com/api/v1/info": 421,
        "http://x@evil.com/api/v1/info": 421,
        "http://x:y@localhost/api/v1/info": 421,
        "http:///api/v1/info": 421,
        "http://evil.com": 421,
        "http://evil.com/livez": 200,
        "http://mail.example.com/api/v1/info": 200,
        "https://127.0.0.1:1/api/v1/info": 200,
    }.items():
        assert (await ask(f"GET {target} HTTP/1.1", "Host: localhost"))[0] == status, target
    assert (await ask("GET http://x/api/v1/info HTTP/1.1", "Host: evil.com"))[0] == 200


ANSWERED = (
    *(
        "127.0.0.1",
        "127.0.0.1:8025",
        "10.1.2.3",
        "[::1]",
        "[::1]:8025",
        "[2001:db8::1]",
        "[::FFFF:1.2.3.4]",
    ),
    *("localhost", "LOCALHOST:80", "localhost.", "localhost.:80", "localhost:", "smtp", "my_mail"),
    *("a.localhost", "mail.local", "mail.internal.", "a.b.test", "smtp.ns.svc", "MAIL.Example.COM"),
    *("mail.example.com.", "mail.example.com:443", "own.example.org"),
)
MISDIRECTED = (
    *(
        "",
        ".",
        ":80",
        "evil.com",
        "evil.com.",
        "127.0.0.1.evil.com",
        "localhost.evil.com",
        "evil.com:80",
    ),
    *(
        "x@localhost",
        "evil.com@localhost",
        "localhost@evil.com",
        "localhost:80@evil.com",
        "evil.test.com",
    ),
    *(
        "[::1",
        "::1",
        "[evil.com]",
        "[127.0.0.1]",
        "[::1]x",
        "[::1]:x",
        "localhost:port",
        "local host",
    ),
    *(
        "127.1",
        "1.2.3.4.5",
        "127.0.0.1..",
        "local..",
        "a..test",
        ".test",
        "-.test",
        "localhost/",
        "a,b",
    ),
    *(
        "mail.example.com.evil.com",
        "xmail.example.com",
        "sub.mail.example.com",
        "svc.cluster.local.x",
    ),
    *(
        "localhost#",
        "localhost?",
        "localhost\\evil.com",
        "l\xf6calhost",
        "localhost\x00",
        "evil.com:",
    ),
)


@pytest.mark.parametrize("host", ANSWERED)
def test_hosts_that_are_answered(host):
    assert Hosts(["own.example.org", "mail.example.com"]).has(host)


@pytest.mark.parametrize("host", MISDIRECTED)
def test_hosts_that_are_not(host):
    assert not Hosts(["own.example.org", "mail.example.com"]).has(host)


async def test_the_domain_and_the_listed_names_are_answered(asked):
    ask = await asked(
        SMTP_DOMAIN="mx.example.org", SMTP_HTTP_HOSTS="One.example.com, two.example.com."
    )
    for host in ("mx.example.org", "one.example.com:8025", "TWO.example.com"):
        assert (await ask("GET /api/v1/info HTTP/1.1", f"Host: {host}"))[0] == 200
    status, answer = await ask("GET /api/v1/info HTTP/1.1", "Host: three.example.com")
    assert status == 421
    assert b"SMTP_HTTP_HOSTS" in answer


TOKENS = {
    "Authorization: Bearer secret": 200,
    "authorization: bearer secret": 200,
    "AUTHORIZATION: BEARER  secret": 200,
    "Authorization: Bearer Secret": 401,
    "Authorization: Bearer secretx": 401,
    "Authorization: Bearer": 401,
    "Authorization: Bearer ": 401,
    "Authorization: secret": 401,
    "Authorization: Basic secret": 401,
    "Authorization: Bearer secret\r\nAuthorization: Bearer secret": 401,
    "Authorization: Bearer x\r\nAuthorization: Bearer secret": 401,
    "Authorization: Bearer secret, Bearer secret": 401,
    "X-Authorization: Bearer secret": 401,
}


async def test_the_token_is_told_once_in_any_case_of_its_scheme(asked):
    ask = await asked(SMTP_HTTP_TOKEN="secret")
    for field, status in TOKENS.items():
        assert (await ask("GET /api/v1/info HTTP/1.1", "Host: x", field))[0] == status, field


ORIGINS = {
    (): 200,
    ("Origin: http://mail.test",): 200,
    ("Origin: https://mail.test",): 200,  # a proxy took TLS off
    ("Origin: HTTP://MAIL.test:80",): 200,
    ("Sec-Fetch-Site: same-origin", "Origin: http://mail.test"): 200,
    ("Sec-Fetch-Site: none",): 200,
    ("Origin: http://mail.test:8080",): 403,
    ("Origin: http://evil.com",): 403,
    ("Origin: null",): 403,
    ("Origin: ",): 403,
    ("Origin: file://mail.test",): 403,
    ("Origin: http://mail.test.evil.com",): 403,
    ("Origin: http://evil.com@mail.test",): 403,
    ("Origin: http://mail.test", "Origin: http://evil.com"): 403,
    ("Sec-Fetch-Site: cross-site",): 403,
    ("Sec-Fetch-Site: Cross-Site", "Origin: http://mail.test"): 403,
}


@pytest.mark.parametrize("path", ["/api/v1/messages", "/api/v1/search?query=x"])
async def test_a_page_of_another_origin_deletes_nothing(asked, path):
    ask = await asked()
    for fields, status in ORIGINS.items():
        assert (await ask(f"DELETE {path} HTTP/1.1", "Host: mail.test", *fields))[0] == status, (
            fields
        )
        if status == 403:
            assert (await ask(f"GET {path} HTTP/1.1", "Host: mail.test", *fields))[0] == 200
    ported = ("Host: mail.test:8025", "Origin: http://mail.test:8025")
    assert (await ask(f"DELETE {path} HTTP/1.1", *ported))[0] == 200
    assert (await ask(f"DELETE {path} HTTP/1.1", ported[0], "Origin: http://mail.test"))[0] == 403


async def test_what_changes_something_is_guarded_where_no_path_is_known(asked):
    ask = await asked()
    for method in ("POST", "PUT", "PATCH", "FOO"):
        asked_for = (f"{method} /later HTTP/1.1", "Host: x", "Sec-Fetch-Site: cross-site")
        assert (await ask(*asked_for))[0] == 403


@pytest.mark.parametrize("path", ["/api/v1/messages/", "/livez/", "/api/v1/info/", "//livez"])
async def test_a_slash_too_many_is_unknown_and_leads_nowhere(asked, path):
    ask = await asked()
    status, answer = await ask(f"GET {path} HTTP/1.1", "Host: localhost")
    assert status == 404
    assert b"location:" not in answer.lower()
