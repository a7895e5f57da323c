"""Clients of Mailpit that nobody here wrote, unchanged: each method does what it says.

The packages of npm come by the lock in mailpit_clients/. The methods that need an operation which
docs/openapi.yaml does not describe may fail.
"""

import asyncio
import json
import shutil
from dataclasses import fields
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest

from prixfixe.settings import Settings
from tests.conftest import PATIENCE
from tests.integration.mailpit_clients import table
from tests.unit.test_http import deliver

FOLDER = Path(__file__).parent / "mailpit_clients"
NPM = ("ci", "--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund")


def welcome():
    mail = EmailMessage(policy=SMTP)
    mail["Subject"], mail["From"], mail["To"] = (
        "Welcome",
        "Alice <alice@example.test>",
        "bob@example.test",
    )
    mail["X-Tags"] = "Sign up, Green"
    # The PyPI package wants these.
    mail["Delivered-To"], mail["Message-ID"] = "bob@example.test", "<1@example.test>"
    mail["Date"] = "Tue, 24 Nov 2026 10:00:00 +0000"
    mail.set_content("Your code is 123456.\n")
    mail.add_alternative('<p>Your code is <b>123456</b>.</p><img src="cid:logo">', subtype="html")
    html = mail.get_payload()[1]
    html.add_related(b"\x89PNG", "image", "png", cid="<logo>", disposition="inline")
    mail.add_attachment(b"%PDF-1.7", "application", "pdf", filename="terms.pdf")
    return mail.as_bytes()


@pytest.fixture
async def server(start):
    """A server with the mail that all the clients look for."""
    more = {"SMTP_FAULTS": "true"} if "faults" in {one.name for one in fields(Settings)} else {}
    running = await start(SMTP_HTTP_PORT="0", **more)
    await deliver(running, welcome(), to=(b"bob@example.test",))
    await deliver(running, b"Subject: Plain\r\nTo: carol@example.test\r\n\r\nwords\r\n")
    await deliver(running, b"Subject: Newest\r\nTo: carol@example.test\r\n\r\nwords\r\n")
    return running


async def run(*words, cwd):
    process = await asyncio.create_subprocess_exec(
        *words, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, trouble = await asyncio.wait_for(process.communicate(), 4 * PATIENCE)
    return process.returncode, output.decode(), trouble.decode()


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The folder with the packages of the lock in it."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    folder = tmp_path_factory.mktemp("clients") / "mailpit_clients"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("node_modules"))
    code, _output, trouble = asyncio.run(run("npm", *NPM, cwd=folder))
    if code:
        pytest.skip(f"npm cannot get the packages: {trouble[-300:]}")
    return folder


@pytest.mark.parametrize(
    ("script", "methods"),
    [
        ("mailpit_api.mjs", table.MAILPIT_API),
        ("cypress_mailpit.mjs", table.CYPRESS_MAILPIT),
    ],
)
async def test_packages_of_npm(server, packages, script, methods):
    code, output, trouble = await run("node", script, server.http, cwd=packages)
    assert code == 0, trouble
    outcomes = json.loads(output)
    assert set(outcomes) == set(methods), "the package has other methods than the table"
    assert {name: outcomes[name] for name in table.working(methods) if outcomes[name]} == {}


def python_client(url):
    """Call every method of the PyPI package; return what went wrong with which."""
    from mailpit.client.api import API

    api, outcomes = API(url, timeout=PATIENCE), {}
    first = api.get_messages().messages[-1].id

    def outcome(name, is_right, *args):
        try:
            outcomes[name] = "" if is_right(getattr(api, name)(*args)) else "another answer"
        except Exception as error:  # noqa: BLE001 - whatever the package raises
            outcomes[name] = repr(error)

    outcome("get_messages", lambda page: (page.total, len(page.messages)) == (3, 1), 1)
    outcome("get_message", lambda one: one.subject == "Welcome", first)
    part = api.get_message(first).attachments[0].part_id
    outcome("get_message_attachment", lambda text: text == "%PDF-1.7", first, part)
    outcome("get_message_headers", lambda found: found.delivered_to == ["bob@example.test"], first)
    outcome("put_messages", lambda _: True, [first], "Read", True)
    outcome("delete_messages", lambda _: api.get_messages().total == 2, [first])
    return outcomes


async def test_a_package_of_pypi(server):
    outcomes = await asyncio.to_thread(python_client, server.http)
    assert set(outcomes) == set(table.PYPI_CLIENT)
    works = {name for name, trouble in outcomes.items() if not trouble}
    assert works == table.working(table.PYPI_CLIENT), outcomes


def test_every_operation_of_a_method_is_one_of_mailpits():
    asked = {one for methods in table.CLIENTS.values() for each in methods.values() for one in each}
    assert asked - set(table.MAILPIT) == {table.FORM}
    assert len(set(table.MAILPIT)) == 25
