"""Programs from PyPI that are built on aiosmtpd: a real mail through each, on our controllers."""

from __future__ import annotations

import http.server
import json
import mailbox
import os
import smtplib
import socket
import subprocess
import sys
import threading
import time

import pytest

PATIENCE = 60.0
INSTALL = "from prixfixe.handlers import install; install(); "
MAIL = "Subject: hello\r\nFrom: a@x.test\r\nTo: b@y.test\r\n\r\nHello.\r\n"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def connected(port, process):
    """Return a client once somebody listens."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE)
        except OSError:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)


def run(code, *words):
    return subprocess.Popen(
        [sys.executable, "-c", INSTALL + code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def is_ours(client):
    """Whether PrixFixe's engine answers: aiosmtpd does not offer PIPELINING."""
    client.ehlo("client.test")
    return client.has_extn("pipelining")


def test_dsmtpd_keeps_a_mail_in_its_maildir(tmp_path):
    pytest.importorskip("dsmtpd", reason="nox -s peers installs it")
    port, box = free_port(), tmp_path / "box"
    code = "from dsmtpd._dsmtpd import main; main()"
    server = run(code, "-i", "127.0.0.1", "-p", str(port), "-d", str(box))
    try:
        with connected(port, server) as client:
            assert is_ours(client)
            client.sendmail("a@x.test", ["b@y.test"], MAIL)
        (kept,) = mailbox.Maildir(box)
        assert kept["Subject"] == "hello"
    finally:
        server.kill()
        server.communicate()


def test_smtpdfix_has_a_mail_of_a_user_who_logged_in(tmp_path):
    pytest.importorskip("smtpdfix", reason="nox -s peers installs it")
    test = tmp_path / "test_mail.py"
    test.write_text(
        "from smtplib import SMTP\n"
        "def test_mail(smtpd):\n"
        "    smtpd.config.login_username, smtpd.config.login_password = 'user', 'word'\n"
        "    smtpd.config.auth_require_tls = False\n"
        "    with SMTP(smtpd.hostname, smtpd.port, timeout=60) as client:\n"
        "        client.ehlo('x')\n"
        "        assert client.has_extn('pipelining')\n"
        "        client.user, client.password = 'user', 'word'\n"
        "        client.auth('CRAM-MD5', client.auth_cram_md5, initial_response_ok=False)\n"
        f"        client.sendmail('a@x.test', ['b@y.test'], {MAIL!r})\n"
        "    assert [one['Subject'] for one in smtpd.messages] == ['hello']\n"
        "def test_starttls(smtpd):\n"
        "    smtpd.config.use_starttls = True\n"
        "    with SMTP(smtpd.hostname, smtpd.port, timeout=60) as client:\n"
        "        client.starttls()\n"
        f"        client.sendmail('a@x.test', ['b@y.test'], {MAIL!r})\n"
        "    assert len(smtpd.messages) == 1\n"
    )
    code = "import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"
    words = ("-q", "-p", "no:randomly", "-c", os.devnull, "--rootdir", str(tmp_path), str(test))
    done = run(code, *words)
    output, _ = done.communicate(timeout=PATIENCE)
    assert done.returncode == 0, output.decode()


def test_mailrise_turns_a_mail_into_a_notification(tmp_path):
    pytest.importorskip("mailrise", reason="nox -s peers installs it")
    told, is_told = [], threading.Event()

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            is_told.set()

        def log_message(self, *arguments):
            pass

    hook = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    port, config = free_port(), tmp_path / "mailrise.conf"
    config.write_text(
        f"configs:\n  b@y.test:\n    urls:\n      - json://127.0.0.1:{hook.server_port}/\n"
        f"listen:\n  host: 127.0.0.1\n  port: {port}\n"
    )
    server = run("from mailrise.skeleton import main; import sys; main(sys.argv[1:])", str(config))
    try:
        with connected(port, server) as client:
            assert is_ours(client)
            client.sendmail("a@x.test", ["b@y.test"], MAIL)
        assert is_told.wait(PATIENCE)
        assert "hello" in told[0]["title"]
        assert "Hello." in told[0]["message"]
    finally:
        server.kill()
        server.communicate()
        hook.shutdown()
        hook.server_close()
