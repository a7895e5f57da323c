"""`prixfixe check` and `wait`, against a scripted server and against the real one."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest

from prixfixe.cli import probe
from prixfixe.cli.main import main
from prixfixe.cli.probe import CheckError, _send

GOOD_SMTP = (b"220 stub\r\n", b"250-stub\r\n250 HELP\r\n", b"221 Bye\r\n")
READY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
NOT_READY = (
    b"HTTP/1.1 503 Service Unavailable\r\n\r\n"
    b'{"checks": {"store": {"ok": false, "detail": "disk full"}, "tls": {"ok": true}}}'
)


class Stub:
    """A server that says one thing on connecting and one after each thing it hears.

    After the last it hangs up; `None` says nothing and waits for the client to go.
    """

    def __init__(self, says, host="127.0.0.1"):
        self.says, self.heard, self.peers = says, b"", []
        self.listener = socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
        self.host, self.port = self.listener.getsockname()[:2]
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    @property
    def address(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def _serve(self):
        while True:
            sock, peer = self.listener.accept()
            with sock:
                if not self.says:
                    return
                self.peers.append(peer[1])
                self._talk(sock)

    def _talk(self, sock):
        try:
            for number, text in enumerate(self.says):
                if number:
                    self.heard += sock.recv(4096)
                if text is None:
                    sock.recv(4096)
                    return
                sock.sendall(text)
        except ConnectionError:
            pass

    def close(self):
        self.says = ()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family) as last:
            last.connect((self.host, self.port))
        self.thread.join(10)
        self.listener.close()


@pytest.fixture
def stub():
    """Start scripted servers."""
    with ExitStack() as stack:

        def start_one(*says, host="127.0.0.1"):
            one = Stub(says, host)
            stack.callback(one.close)
            return one

        yield start_one


@pytest.fixture
def closed(closed_port):
    return f"127.0.0.1:{closed_port}"


@pytest.fixture
def environ(monkeypatch):
    """Set the process's settings, all others unset."""
    for name in [name for name in os.environ if name.startswith("SMTP_")]:
        monkeypatch.delenv(name)

    def set_all(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))

    return set_all


def check(smtp, http=None, *more):
    words = ["check", "--timeout", "30", "--smtp", smtp]
    return main([*words, *(["--http", f"http://{http}"] if http else []), *more])


def test_check_passes_when_smtp_and_readiness_answer(stub, capsys):
    smtp, http = stub(*GOOD_SMTP), stub(b"", READY)
    assert check(smtp.address, http.address) == 0
    assert smtp.heard == b"EHLO localhost\r\nQUIT\r\n"
    assert capsys.readouterr() == ("", "")


def test_check_announces_the_port_it_comes_from(stub):
    smtp, http = stub(*GOOD_SMTP), stub(b"", READY)
    check(smtp.address, http.address)
    assert http.heard.startswith(b"GET /readyz?probe=%d HTTP/1.1\r\n" % smtp.peers[0])


def test_verbose_check_shows_what_the_server_says(stub, capsys):
    assert check(stub(*GOOD_SMTP).address, stub(b"", READY).address, "-v") == 0
    assert capsys.readouterr().out.splitlines() == [
        "HTTP/1.1 200 OK",
        "220 stub",
        "250 HELP",
        "221 Bye",
    ]


@pytest.mark.parametrize("body", [b"5", b"[]", b"{", b"", b'{"version": "1"}'])
def test_a_stranger_s_answer_is_no_name(stub, capsys, body):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    assert check(stub(*GOOD_SMTP).address, stub(b"", answer).address, "-v") == 0
    assert capsys.readouterr().out.splitlines()[0] == "HTTP/1.1 200 OK"


UNWELL = {
    "silent greeting": ([None], "SMTP greeting: no answer in time"),
    "refusal": (
        [b"421 4.3.2 Busy\r\n"],
        "SMTP greeting: expected a line with 220, got '421 4.3.2 Busy'",
    ),
    "hangs up": ([b""], "SMTP greeting: expected a line with 220, got end of connection"),
    "half a line": ([b"220 st"], "expected a line with 220, got '220 st'"),
    "another protocol": ([b"SSH-2.0-x\r\n"], "expected a line with 220, got 'SSH-2.0-x'"),
    "escape sequences": ([b"554 \x1b[31mno\r\n"], r"got '554 \?\[31mno'"),
    "flood without an end": (
        [b"x" * 200_000, None],
        "SMTP greeting: expected a line with 220, got 'xxx",
    ),
    "ehlo refused": (
        [b"220 a\r\n", b"502 no\r\n"],
        "SMTP EHLO localhost: expected a line with 250, got '502",
    ),
    "unfinished ehlo": (
        [b"220 a\r\n", b"250-a\r\n", None],
        "SMTP EHLO localhost: no answer in time|reset",
    ),
    "wrong farewell": (
        [b"220 a\r\n", b"250 a\r\n", b"250 a\r\n"],
        "SMTP QUIT: expected a line with 221",
    ),
}


@pytest.mark.parametrize(("says", "reason"), UNWELL.values(), ids=UNWELL)
def test_check_says_in_one_line_what_smtp_did_wrong(stub, capsys, says, reason):
    assert check(stub(*says).address, None, "--timeout", "0.3") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("prixfixe: ")
    assert re.search(reason, line), line


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (NOT_READY, "prixfixe: not ready: store: disk full"),
        (b"HTTP/1.1 404 Not Found\r\n\r\nnope", "prixfixe: not ready: nope"),
        (b"HTTP/1.1 500 Oh\r\n\r\n", "prixfixe: not ready: HTTP/1.1 500 Oh"),
        (b"220 I am SMTP\r\n", "prixfixe: not ready: 220 I am SMTP"),
        (b"", "prixfixe: not ready: HTTP: no answer"),
        (None, "prixfixe: HTTP: no answer in time"),
    ],
    ids=["503", "404", "no body", "not http", "hangs up", "silent"],
)
def test_check_says_in_one_line_why_the_server_is_not_ready(stub, capsys, answer, reason):
    smtp, http = stub(*GOOD_SMTP), stub(b"", answer)
    assert check(smtp.address, http.address, "--timeout", "0.3") == 1
    assert capsys.readouterr().err.splitlines() == [reason]


def test_check_names_the_closed_port(closed, closed_port, stub, capsys):
    assert check(closed) == 1
    reason = f"cannot connect to 127.0.0.1 port {closed_port}: Connection refused"
    assert capsys.readouterr().err == f"prixfixe: SMTP: {reason}\n"
    assert check(stub(*GOOD_SMTP).address, closed) == 1
    assert capsys.readouterr().err == f"prixfixe: HTTP: {reason}\n"


def test_check_is_no_server_to_itself(monkeypatch, capsys):
    """A socket that got the closed port as its own connects with itself."""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        monkeypatch.setattr(probe, "_bound_socket", lambda _host, *, is_here: own)
        assert check(f"127.0.0.1:{own.getsockname()[1]}", None, "--timeout", "0.3") == 1
    assert "SMTP: cannot connect" in capsys.readouterr().err


def test_check_has_one_deadline_for_a_server_that_drips(stub, capsys):
    """Each octet comes in time, the whole does not."""
    drip = stub()
    drip.says, go_on = ("drip",), threading.Event()

    def talk(sock):
        try:
            while not go_on.wait(0.02):
                sock.sendall(b"2")
        except OSError:
            pass

    drip._talk = talk
    assert check(drip.address, None, "--timeout", "0.3") == 1
    go_on.set()
    assert "no answer in time" in capsys.readouterr().err


def test_check_tries_each_address_of_a_name(stub, monkeypatch):
    smtp, http = stub(*GOOD_SMTP), stub(b"", READY)

    def resolve(_host, port, **_):
        hosts = {socket.AF_INET6: "::1", socket.AF_INET: "127.0.0.1"}
        return [(family, 0, 0, "", (host, port)) for family, host in hosts.items()]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert check(f"mail.test:{smtp.port}", f"mail.test:{http.port}") == 0


def test_check_says_when_a_name_is_unknown(capsys, monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert check("mail.test:25") == 1
    assert capsys.readouterr().err == "prixfixe: SMTP: mail.test: Name or service not known\n"


def test_check_speaks_ipv6(stub):
    assert check(stub(*GOOD_SMTP, host="::1").address, stub(b"", READY, host="::1").address) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--smtp", "2525"], "expected HOST:PORT"),
        (["--smtp", "::1:2525"], "expected HOST:PORT"),
        (["--smtp", "a:0"], "expected HOST:PORT"),
        (["--smtp", "a:99999"], "expected HOST:PORT"),
        (["--smtp", "\udcff:25"], "expected a host's name or address"),
        (["--http", "https://a:80"], "expected http://HOST:PORT"),
        (["--http", "http://a:80/readyz"], "expected http://HOST:PORT"),
        (["--http", "foo"], "expected http://HOST:PORT"),
        (["--timeout", "nan"], "expected seconds"),
        (["--timeout", "-1"], "expected"),
        (["--timeout", "0"], "at least 0.01"),
        (["--time", "1"], "unrecognized arguments"),
    ],
    ids=" ".join,
)
def test_wrong_usage_of_check_exits_2(capsys, arguments, reason):
    with pytest.raises(SystemExit) as caught:
        main(["check", *arguments])
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "wait"])
@pytest.mark.parametrize("name", ["SMTP_PORT", "SMTP_HTTP_PORT"])
def test_any_free_port_cannot_be_guessed(environ, capsys, command, name):
    environ(**{name: 0})
    assert main([command]) == 2
    assert "say which with --smtp and --http" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "wait"])
def test_wrong_settings_exit_2(environ, capsys, command):
    environ(SMTP_PORT="x")
    assert main([command]) == 2
    assert "SMTP_PORT='x'" in capsys.readouterr().err


def test_check_without_http_asks_smtp_alone(environ, stub):
    environ(SMTP_PORT=stub(*GOOD_SMTP).port, SMTP_HTTP_PORT="off")
    assert main(["check"]) == 0


def test_http_may_be_named_beside_the_settings_smtp(environ, stub, capsys):
    environ(SMTP_PORT=stub(*GOOD_SMTP).port, SMTP_HTTP_PORT=0)
    assert main(["check", "--http", stub(b"", NOT_READY).address]) == 1
    assert "store: disk full" in capsys.readouterr().err


def test_check_introduces_itself_to_a_server_behind_proxies(environ, stub):
    smtp = stub(*GOOD_SMTP)
    environ(SMTP_PORT=smtp.port, SMTP_HTTP_PORT="off", SMTP_PROXY_PROTOCOL="127.0.0.0/8")
    main(["check"])
    assert smtp.heard.startswith(b"PROXY UNKNOWN\r\n")


def test_a_server_that_hung_up_is_no_broken_pipe():
    """A broken pipe is a reader gone, and ends a command with 0."""
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises(CheckError, match="SMTP QUIT: Broken pipe"):
        _send(ours, "QUIT\r\n", "SMTP QUIT")


# --- wait


def test_wait_ends_as_soon_as_the_server_is_ready(stub):
    smtp = stub(b"421 4.3.2 Starting\r\n")
    talk = smtp._talk

    def starting(sock):
        talk(sock)
        smtp.says = GOOD_SMTP

    smtp._talk = starting
    assert main(["wait", "--smtp", smtp.address, "--timeout", "30"]) == 0
    assert len(smtp.peers) == 2


def test_wait_gives_up_with_the_last_reason(closed, capsys):
    assert main(["wait", "--smtp", closed, "--timeout", "0.2"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("prixfixe: not ready after 0.2 s: SMTP: cannot connect to")
    assert len(error.splitlines()) == 1


# --- the real server


async def run_check(*arguments):
    """Run the command in a thread, for the server is in this one."""
    return await asyncio.to_thread(main, ["check", "--timeout", "30", *arguments])


def own_address(running):
    http = running.bound.http
    return {"SMTP_PORT": running.port, "SMTP_HTTP_PORT": http.rpartition(":")[2] if http else "off"}


def outer_address():
    """Return an address of this machine that is not a loopback's; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return sock.getsockname()[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "", "outer"])
async def test_probe_is_no_client_at_any_address(start, environ, host):
    if host == "outer" and (host := outer_address()) is None:
        pytest.skip("this machine has a loopback only")
    bind = {"SMTP_BIND": host, "SMTP_HTTP_BIND": host}
    running = await start(SMTP_HTTP_PORT="0", SMTP_MAX_CONNECTIONS="1", **bind)
    environ(**bind, **own_address(running))
    _, writer = await asyncio.open_connection(host or "127.0.0.1", running.port)
    assert await run_check() == 0
    writer.close()


async def test_unannounced_probe_meets_the_limits(start, capsys):
    running = await start(SMTP_MAX_CONNECTIONS="1")
    wire = await running.connect()
    assert await run_check("--smtp", running.bound.smtp) == 1
    assert "got '421 4.3.2" in capsys.readouterr().err
    wire.close()


@pytest.mark.parametrize("http", ["0", "off"])
async def test_probe_passes_where_a_proxy_is_expected(start, environ, http):
    proxies = {"SMTP_PROXY_PROTOCOL": "127.0.0.0/8"}
    running = await start(SMTP_HTTP_PORT=http, **proxies)
    environ(**proxies, **own_address(running))
    assert await run_check() == 0


async def test_check_tells_that_the_server_drains(start, environ, capsys):
    running = await start(SMTP_HTTP_PORT="0")
    environ(**own_address(running))
    running.server.roster.is_draining = True
    assert await run_check() == 1
    assert "not ready: draining: shutting down" in capsys.readouterr().err


# --- what it costs

HEAVY = {"asyncio", "aiosmtpd", "uvloop", "starlette", "h11", "prometheus_client"}
HEAVY |= {"email", "sqlite3", "http", "ssl", "logging", "subprocess", "difflib", "json"}


def modules_after(*arguments):
    """Return the exit code and the top-level modules a command imports."""
    code = (  # A tool that watches this process may have imported more before.
        "import sys; before = set(sys.modules); from prixfixe.cli.main import main;"
        f"code = main({list(arguments)!r}); after = set(sys.modules) - before;"
        "print('\\nEND', code, *{name.partition('.')[0] for name in after})"
    )
    command = [sys.executable, "-c", code]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    end = text.rpartition("END ")[2].split()
    return int(end[0]), set(end[1:])


def test_check_imports_nothing_heavy(stub):
    smtp, http = stub(*GOOD_SMTP), stub(b"", READY)
    code, modules = modules_after("check", "--smtp", smtp.address, "--http", http.address)
    assert code == 0
    assert not modules & HEAVY


def test_version_imports_no_settings_and_nothing_heavy():
    code, modules = modules_after("version")
    assert code == 0
    light = {"dataclasses"} if sys.version_info < (3, 14) else set()  # argparse imports it since
    assert not modules & (HEAVY | light | {"socket", "ipaddress"})
