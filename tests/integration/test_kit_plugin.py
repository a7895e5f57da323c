"""The pytest plugin as users get it: pytest in a process of its own, with the installed package."""

import re
import subprocess
import sys

import pytest

from prixfixe.testing import Server
from tests.support.script_runner import ROOT, clean_environ

SHARED = """
import smtplib, pytest

@pytest.mark.parametrize("number", range(42))
def test_own_mail_and_own_faults_alone(prixfixe, inbox, number):
    times, code = number % 3, 450 + number % 3
    fault = inbox.faults.add(stage="rcpt", reply=f"{code} 4.2.1 {number}", times=times or 1)
    if not times:
        fault.remove()
    text = f"Subject: {number}\\r\\n\\r\\nhi\\r\\n"
    with smtplib.SMTP(prixfixe.smtp_host, prixfixe.smtp_port, local_hostname="t") as smtp:
        for _ in range(times):
            with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
                smtp.sendmail("shop@example.com", inbox.address, text)
            assert caught.value.recipients[inbox.address] == (code, f"4.2.1 {number}".encode())
        smtp.sendmail("shop@example.com", inbox.address, text)
    assert inbox.wait().subject == str(number)
    assert len(inbox.messages) == 1
    assert not times or fault.hits == times
"""


def run(folder, text, *args):
    """Run tests in a process that has the plugin and no other, but for xdist if it is asked for."""
    (folder / "test_it.py").write_text(text)
    others = ["-p", "xdist"] if "-n" in args else []
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *others]
    environ = clean_environ() | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [*command, "-p", "prixfixe", "test_it.py", *args],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def example(document):
    [found] = re.findall(
        r"<!-- kit -->\n```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL
    )
    return found


@pytest.mark.parametrize("document", ["README.md", "docs/api.md"])
def test_the_test_of_the_document_passes_and_can_fail(tmp_path, document):
    text = example(document)
    assert len([line for line in text.splitlines() if line.strip()]) <= 9
    code, output = run(tmp_path, text, "-W", "error")
    assert (code, "1 passed" in output) == (0, True), output
    code, output = run(tmp_path, text.replace("=Welcome", "=Goodbye").replace('"Welcome"', '"No"'))
    assert (code, "1 failed" in output) == (1, True), output


def test_a_failure_shows_why_and_no_line_of_the_kit(tmp_path):
    text = """
def test_it(inbox):
    inbox.wait(subject="Welcome", timeout=0)
"""
    code, output = run(tmp_path, text)
    assert (code, "stored for this inbox: nothing" in output) == (1, True), output
    assert "prixfixe/testing/" not in output


def test_each_worker_has_its_server_or_all_share_one(tmp_path):
    code, output = run(tmp_path, SHARED, "-n", "2")
    assert (code, "42 passed" in output) == (0, True), output
    with Server() as server:
        smtp = f"{server.smtp_host}:{server.smtp_port}"
        shared = ("--prixfixe-url", server.url, "--prixfixe-smtp", smtp)
        code, output = run(tmp_path, SHARED, "-n", "4", *shared)
        assert (code, "42 passed" in output) == (0, True), output
        page = server.access.api.json("GET", "/api/v1/messages")
        assert page["total"] == 0  # Each inbox cleaned up.


def test_a_run_that_does_not_use_it_imports_next_to_nothing(tmp_path):
    text = """
import sys

def test_it():
    mine = {name for name in sys.modules if name.partition(".")[0] == "prixfixe"}
    assert mine == {"prixfixe", "prixfixe.testing", "prixfixe.testing.plugin"}
    assert not {"uvicorn", "starlette", "uvloop", "aiosmtpd"} & set(sys.modules)
"""
    code, output = run(tmp_path, text)
    assert (code, "1 passed" in output) == (0, True), output


def test_unittest_needs_no_plugin(tmp_path):
    text = """
import smtplib
import unittest

from prixfixe.testing import Inbox, Server


class Mail(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server().start()
        cls.addClassCleanup(cls.server.stop)

    def test_it(self):
        inbox = Inbox(self.server)
        with smtplib.SMTP(self.server.smtp_host, self.server.smtp_port) as smtp:
            smtp.sendmail("a@example.com", inbox.address, "Subject: hi\\r\\n\\r\\nhi\\r\\n")
        self.assertEqual(inbox.wait().subject, "hi")
"""
    (tmp_path / "test_it.py").write_text(text)
    command = [sys.executable, "-W", "error", "-m", "unittest", "-q", "test_it"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_shared_server_that_is_not_there_is_told(tmp_path):
    code, output = run(tmp_path, SHARED, "--prixfixe-url", "127.0.0.1")
    assert (code, "expected http://HOST:PORT" in output) == (1, True), output
