"""Faults of a server in a process of its own, as smtplib meets them; and attacks on it."""

import json
import os
import re
import smtplib
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tests.conftest import PATIENCE

CONNECTIONS = 12
ENV = {
    "SMTP_BIND": "127.0.0.1",
    "SMTP_PORT": "0",
    "SMTP_HTTP_PORT": "0",
    "SMTP_STORE": "memory:",
    "SMTP_FAULTS": "true",
    "SMTP_MAX_CONNECTIONS": str(CONNECTIONS),
}
MAIL = "Subject: x\r\n\r\nhello\r\n"


class Served:
    """A running server."""

    def __init__(self, line):
        found = re.search(r"smtp=\S+:(\d+) http=(\S+)", line)
        self.port, self.url = int(found[1]), f"http://{found[2]}/api/v1"

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or b"null")

    def fault(self, to, stage, action, **more):
        asked = {"match": {"to": to}, "stage": stage, "action": action, **more}
        return self.ask("POST", "/faults", asked)["ID"]

    def send(self, to):
        with smtplib.SMTP("127.0.0.1", self.port, timeout=PATIENCE) as client:
            return client.sendmail("app@x.test", [to], MAIL)

    def stored(self, to):
        return self.ask("GET", f"/search?query=to:{to}")["messages_count"]


@pytest.fixture(scope="module")
def served():
    command = [sys.executable, "-m", "prixfixe"]
    with subprocess.Popen(
        command, env={**os.environ, **ENV}, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Served(process.stdout.readline())
        process.terminate()
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0


def test_a_program_that_tries_again_gets_through(served):
    name = served.fault("retry@y.test", "rcpt", {"reply": "451 4.2.1 busy"}, times=2)
    for _ in range(2):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            served.send("retry@y.test")
        assert refused.value.recipients == {"retry@y.test": (451, b"4.2.1 busy")}
    served.send("retry@y.test")
    assert served.ask("GET", f"/faults/{name}")["Hits"] == 2
    assert served.stored("retry@y.test") == 1
    tried = served.ask("GET", "/attempts?to=retry@y.test")["attempts"]
    assert [one["Reply"] for one in tried] == ["451 4.2.1 busy"] * 2


@pytest.mark.parametrize("stage", ["rcpt", "data", "eod"])
def test_a_dropped_message_is_not_stored(served, stage):
    to = f"drop-{stage}@y.test"
    served.fault(to, stage, {"drop": True})
    with pytest.raises(smtplib.SMTPServerDisconnected):
        served.send(to)
    assert served.stored(to) == 0


def test_a_message_that_is_told_late_is_stored_before(served):
    served.fault("late@y.test", "eod", {"delay": "300s"})
    with socket.create_connection(("127.0.0.1", served.port), PATIENCE) as client:
        client.sendall(
            b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<late@y.test>\r\nBDAT 6 LAST\r\nhell\r\n"
        )
        found = served.ask("GET", f"/wait?to=late@y.test&timeout={PATIENCE:g}")
        assert found["messages_count"] == 1


def test_stalls_on_all_connections_keep_nobody_out(served):
    asked = {"match": {"helo": "evil"}, "stage": "mail", "action": {"stall": True}}
    served.ask("POST", "/faults", asked)
    held = []
    try:
        for number in range(2 * CONNECTIONS):
            client = smtplib.SMTP("127.0.0.1", served.port, "evil", timeout=PATIENCE)
            held.append(client)
            client.ehlo()
            client.putcmd("MAIL", "FROM:<a@x.test>")
            if number >= CONNECTIONS // 2:  # So many are held at most.
                assert client.getreply()[0] == 421
        served.send("honest@y.test")
        assert served.stored("honest@y.test") == 1
    finally:
        for client in held:
            client.close()


def test_wrong_use_is_a_400_that_says_what_to_write(served):
    for action, told in [
        ({"reply": "250 2.0.0 OK"}, "a code of 4xx or 5xx"),
        ({"reply": "451 a\r\n250 b"}, "one line of ASCII"),
        ({"delay": "9h"}, "at most 300s"),
    ]:
        with pytest.raises(urllib.error.HTTPError) as refused:
            served.fault("x@y.test", "rcpt", action)
        assert refused.value.code == 400
        assert told in json.loads(refused.value.read())["Error"]
