"""What tests of the HTTP port share; a file that needs another server has its own `serve`."""

import httpx
import pytest

from tests.conftest import PATIENCE


@pytest.fixture
def serve(start):
    """Start a server whose HTTP port is open."""

    async def serve(store=None, **variables):
        return await start(store, SMTP_HTTP_PORT="0", **variables)

    return serve


@pytest.fixture
async def client():
    """A client of HTTP with a deadline on everything."""
    async with httpx.AsyncClient(timeout=PATIENCE, verify=False) as client:
        yield client
