"""The examples of docs/testing.md that need nothing beside the kit, as they stand there."""

import re
import smtplib
import subprocess
import sys

import pytest

from prixfixe.testing import Inbox, KitError, MailNotFoundError, Server
from prixfixe.testing.environment import TOKEN
from tests.documents.blocks import ROOT, named
from tests.support.pytest_runner import run_tests
from tests.support.script_runner import clean_environ

DOCUMENT = "docs/testing.md"
# Sends mail to where its environment says, and tries an invoice again, as the examples expect.
APPLICATION = """
import os
import smtplib

def send(address, subject, text):
    with smtplib.SMTP(os.environ["EMAIL_HOST"], int(os.environ["EMAIL_PORT"])) as smtp:
        smtp.sendmail("shop@example.com", address, f"Subject: {subject}\\r\\n\\r\\n{text}\\r\\n")

def sign_up(address):
    send(address, "Welcome", "https://shop.example/confirm?id=7")

def confirm(link):
    assert link == "https://shop.example/confirm?id=7"

def send_invoice(address):
    for _ in range(3):
        try:
            return send(address, "Your invoice", "42")
        except smtplib.SMTPRecipientsRefused as error:
            [(code, _)] = error.recipients.values()
            assert code == 451
    raise AssertionError("refused thrice")
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "my_application.py").write_text(APPLICATION)
    return tmp_path


def run(folder, *words):
    done = subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=folder,
        env=clean_environ(),
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_with_pytest(folder):
    text = f"{named(DOCUMENT, 'pytest')}\n\n{named(DOCUMENT, 'faults')}"
    code, output = run_tests(folder, text, "-W", "error")
    assert (code, "2 passed" in output) == (0, True), output


def test_with_unittest(folder):
    (folder / "test_it.py").write_text(named(DOCUMENT, "unittest"))
    code, output = run(folder, "-m", "unittest", "test_it")
    assert (code, "Ran 1 test" in output) == (0, True), output


def test_without_pytest(folder):
    code, output = run(folder, "-c", named(DOCUMENT, "without pytest"))
    assert code == 0, output


def test_with_aiosmtplib(folder):
    text = named(DOCUMENT, "aiosmtplib")
    code, output = run_tests(folder, text, plugins=["asyncio"])
    assert (code, "1 passed" in output) == (0, True), output


def test_with_aiosmtplib_and_a_login(folder):
    (folder / "conftest.py").write_text(named(DOCUMENT, "tls"))
    [options] = re.findall(
        r"^\| aiosmtplib \| `([^`]+)`", (ROOT / DOCUMENT).read_text(), re.MULTILINE
    )
    place = "port=prixfixe.smtp_port"
    text = named(DOCUMENT, "aiosmtplib").replace(place, f"{place}, {options}")
    text += "    assert inbox.wait().envelope.user == 'shop'\n"
    code, output = run_tests(folder, text, plugins=["asyncio"])
    assert (code, "1 passed" in output) == (0, True), output


def test_the_text_of_a_failed_wait():
    with Server() as server:
        inbox = server.inbox("test_signup")
        with smtplib.SMTP(server.smtp_host, server.smtp_port, local_hostname="t") as smtp:
            text = "From: shop@example.com\r\nSubject: Welcome!\r\n\r\n"
            smtp.sendmail("shop@example.com", inbox.address, text)
        with pytest.raises(MailNotFoundError) as caught:
            inbox.wait(subject="Welcome", timeout=0)
        shown = named(DOCUMENT, "failure").replace("in 10 s", "in 0 s")
        shown = shown.replace("1f0c3a9b7e.example.com", inbox.domain)
        shown = re.sub(r"nearly: [0-9a-f]{28}", f"nearly: {inbox.messages[0].id}", shown)
        assert str(caught.value).rstrip() == shown.rstrip()


def test_the_token_of_an_inbox_by_url(monkeypatch):
    with Server(settings={"SMTP_HTTP_TOKEN": "a-secret"}) as server:
        assert server.env[TOKEN] == "a-secret"
        monkeypatch.setenv(TOKEN, "a-secret")
        assert Inbox(server.url).messages == []


def test_a_secret_in_the_url_is_refused_and_not_repeated():
    with pytest.raises(KitError, match="put the token into PRIXFIXE_TOKEN") as caught:
        Inbox("http://:word@127.0.0.1:8025")
    assert "word@" not in str(caught.value)
