"""A server in a process of its own, and mail for it over SMTP."""

import contextlib
import os
import re
import smtplib
import subprocess
import sys
import time
from email.message import EmailMessage
from email.utils import formatdate

from tests.conftest import PATIENCE

SETTINGS = {
    "SMTP_BIND": "127.0.0.1",
    "SMTP_PORT": "0",
    "SMTP_HTTP_PORT": "0",
    "SMTP_STORE": "memory:",
    "SMTP_STORE_MIN_FREE": "0",
    "SMTP_MAX_MESSAGE_SIZE": "33554432",
    "SMTP_LOG_LEVEL": "critical",
}


class Served:
    """A running server; `http` is where its page is."""

    def __init__(self, process):
        self.process = process
        words = dict(word.split("=", 1) for word in process.stdout.readline().split()[2:])
        self.smtp_port = int(words["smtp"].rpartition(":")[2])
        self.http_port = int(words["http"].rpartition(":")[2])
        self.http = f"http://127.0.0.1:{self.http_port}"

    @contextlib.contextmanager
    def sending(self):
        with smtplib.SMTP("127.0.0.1", self.smtp_port) as smtp:
            smtp.ehlo()
            yield lambda message, **who: send(smtp, message, **who)

    def send(self, *messages):
        """Send messages; return their ids."""
        with self.sending() as send_one:
            return [send_one(one) for one in messages]

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def send(smtp, message, *, sender="a@x.test", to="b@y.test"):
    """Send one message, an `EmailMessage` or bytes, and return its id."""
    octets = message if isinstance(message, bytes) else message.as_bytes()
    octets = re.sub(rb"\r?\n", b"\r\n", octets)
    smtp.mail(sender)
    smtp.rcpt(to)
    code, text = smtp.data(octets)
    assert code == 250, text
    return text.split()[-1].decode()


@contextlib.contextmanager
def serving(**variables):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SMTP_")}
    command = [sys.executable, "-m", "prixfixe"]
    with subprocess.Popen(
        command, env=environ | SETTINGS | variables, stdout=subprocess.PIPE, text=True
    ) as process:
        served = Served(process)
        try:
            yield served
        finally:
            served.stop()


def letter(
    subject="hello",
    text="How are you?\n",
    *,
    sender="Ann <ann@x.test>",
    to="b@y.test",
    html=None,
    files=(),
    picture=None,
    **fields,
):
    """Return a message."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"], made["Date"] = sender, to, subject, formatdate()
    for name, value in fields.items():
        made[name.replace("_", "-")] = value
    made.set_content(text)
    if html is not None:
        made.add_alternative(html, subtype="html")
    if picture is not None:
        made.get_payload()[1].add_related(picture, "image", "png", cid="<logo>")
    for name, kind, content in files:
        made.add_attachment(content, *kind.split("/"), filename=name)
    return made


def until(page, expression, argument=None):
    """Wait until an expression holds; the page's own policy forbids playwright's way to wait."""
    deadline = time.monotonic() + PATIENCE
    while not page.evaluate(expression, argument):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(10)
