"""Listeners: what waits to be accepted."""

import asyncio
import contextlib
import socket
import sys

import pytest

BURST = 300  # this process has both ends of each


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cap the queue at 128")
async def test_a_burst_that_comes_while_the_loop_is_busy_is_not_lost(start):
    running = await start(SMTP_MAX_CONNECTIONS=str(BURST))
    with contextlib.ExitStack() as stack:
        burst = [stack.enter_context(socket.socket()) for _ in range(BURST)]
        for one in burst:  # the server shares this thread: it accepts nobody meanwhile
            one.settimeout(0.5)
            one.connect(("127.0.0.1", running.port))
        loop = asyncio.get_running_loop()
        for one in burst:
            one.setblocking(False)
            greeting = await asyncio.wait_for(loop.sock_recv(one, 1000), 10)
            assert greeting.startswith(b"220 ")
