"""What a connection leaves behind: nothing that would wait for the collector of cycles.

Objects of TLS are large and few, so the collector, which counts objects, comes late for them.
"""

import asyncio
import contextlib
import gc
import ssl

import pytest

from tests.conftest import until
from tests.unit.test_connection import START, client_context

CLIENTS = 20
KINDS = ("Connection", "Session", "Delivery", "SSLProtocol", "SSLObject")


def left():
    found = [type(one).__name__ for one in gc.get_objects()]
    return {kind: count for kind in KINDS if (count := found.count(kind))}


async def say(port, octets, context=None):
    with contextlib.suppress(OSError, ssl.SSLError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        try:
            writer.write(octets)
            await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()


async def shake_hands_and_leave(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(b"EHLO c.test\r\nSTARTTLS\r\n")
    await reader.readuntil(b"220 2.0.0")
    await reader.readline()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.start_tls(client_context(), server_hostname="localhost")
        writer.write(b"EHLO c.test\r\nQUIT\r\n")
        await reader.read()
    writer.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()


MAIL = b"EHLO c.test\r\n" + START + b"x\r\n.\r\nQUIT\r\n"
WAYS = {
    "mail": lambda plain, tls: say(plain, MAIL),
    "gone in DATA": lambda plain, tls: say(plain, b"EHLO c.test\r\n" + START + b"x\r\n"),
    "no TLS on the TLS port": lambda plain, tls: say(tls, b"EHLO c.test\r\n" * 3),
    "mail inside TLS": lambda plain, tls: say(tls, MAIL, client_context()),
    "nothing inside TLS": lambda plain, tls: say(tls, b"", client_context()),
    "STARTTLS": lambda plain, tls: shake_hands_and_leave(plain),
    "commands behind STARTTLS": lambda plain, tls: say(plain, b"EHLO c\r\nSTARTTLS\r\nNOOP\r\n"),
    "a wrong password": lambda plain, tls: say(plain, b"EHLO c\r\nAUTH PLAIN AGEAYg==\r\nQUIT\r\n"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_connection_leaves_nothing_to_the_collector(start, way):
    running = await start(
        SMTP_TLS_CERT="self-signed",
        SMTP_TLS_PORT="0",
        SMTP_AUTH="any",
        SMTP_AUTH_INSECURE="1",
        SMTP_TIMEOUT="2",
    )
    plain, tls = running.port, int(running.bound.smtps.rpartition(":")[2])
    gc.collect()
    before = left()
    gc.disable()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                await asyncio.gather(*(way(plain, tls) for _ in range(CLIENTS)))
        await until(lambda: not running.server.roster.connections)
        await until(lambda: left() == before)
    finally:
        gc.enable()
