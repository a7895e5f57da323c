"""The helpers for Node that docs/testing.md shows, as they stand there, against a server of the kit."""

import shutil
import smtplib
import subprocess
import threading

import pytest

from prixfixe.testing import Server
from tests.documents.blocks import named
from tests.support.script_runner import clean_environ

TEST = """
import { newAddress, waitForMail, waitForLink, fail } from './mail.mjs'
import { createInterface } from 'node:readline'

const address = newAddress()
await fail(address, 'rcpt', { reply: '451 4.2.1 busy' })
console.log(address)
const link = await waitForLink(address, '/confirm')
const mail = await waitForMail(address)
await waitForMail('nobody@example.com', 0).then(
  () => process.exit(9), (error) => console.log(error.message))
await fail(address, 'lunch', { drop: true }).then(
  () => process.exit(9), (error) => console.log(error.message))
console.log(mail.Subject, link)
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")
@pytest.mark.parametrize("settings", [{}, {"SMTP_HTTP_TOKEN": "a-secret"}], ids=["open", "token"])
def test_the_helpers_for_node(tmp_path, settings):
    (tmp_path / "mail.mjs").write_text(named("docs/testing.md", "node"))
    (tmp_path / "test.mjs").write_text(TEST)
    with Server(settings=settings) as server:
        environ = clean_environ() | server.env
        with subprocess.Popen(
            ["node", "test.mjs"],
            cwd=tmp_path,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as node:
            timer = threading.Timer(120, node.kill)
            timer.start()
            address = node.stdout.readline().strip()
            assert address, node.stderr.read()
            text = "Subject: Hi\r\n\r\nhttps://shop.example/confirm?id=7\r\n"
            with smtplib.SMTP(server.smtp_host, server.smtp_port, local_hostname="t") as smtp:
                with pytest.raises(smtplib.SMTPRecipientsRefused):
                    smtp.sendmail("shop@example.com", address, text)
                smtp.sendmail("shop@example.com", address, text)
            output, errors = node.communicate()
            timer.cancel()
    assert node.returncode == 0, errors
    nothing, wrong, last = output.splitlines()
    assert nothing.startswith("0 of 1 messages came in 0 s; refused: ")
    assert "one of connect, ehlo" in wrong
    assert last == "Hi https://shop.example/confirm?id=7"
