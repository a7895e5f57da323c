"""The pytest plugin: the fixtures `prixfixe` and `inbox`. It imports nothing until one is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.testing.inbox import Inbox
    from prixfixe.testing.remote import RemoteServer
    from prixfixe.testing.server import Server

_URL, _SMTP = "--prixfixe-url", "--prixfixe-smtp"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of a shared server."""
    group = parser.getgroup("prixfixe", "tests of software that sends mail")
    group.addoption(
        _URL,
        metavar="URL",
        help="HTTP address of a running PrixFixe that all tests share, such as "
        "http://127.0.0.1:8025; without it, each process starts a server of its own. If that "
        "server has a token, the environment variable PRIXFIXE_TOKEN tells it",
    )
    group.addoption(
        _SMTP,
        metavar="HOST:PORT",
        help=f"SMTP address of that server, where it is not the host of {_URL} and the port that "
        "the server tells",
    )


@pytest.fixture(scope="session")
def prixfixe(request: pytest.FixtureRequest) -> Iterator[Server | RemoteServer]:
    """Return an SMTP server for tests: `.smtp_host`, `.smtp_port`, `.url`, `.env`."""
    url = request.config.getoption(_URL)
    if url:
        from prixfixe.testing.environment import token
        from prixfixe.testing.remote import RemoteServer

        remote = RemoteServer(url, request.config.getoption(_SMTP), token())
        yield remote
        remote.close()
        return
    from prixfixe.testing.server import Server

    with Server() as server:
        yield server


@pytest.fixture
def inbox(prixfixe: Server | RemoteServer, request: pytest.FixtureRequest) -> Iterator[Inbox]:
    """Return an address that this test alone uses, and the mail that comes to it."""
    made = prixfixe.inbox(request.node.name)
    yield made
    made.close()
