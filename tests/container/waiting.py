"""Wait for a greeting or for a condition, with a deadline instead of a fixed sleep.

A container that ended is reported at once, with its log. A published port does not show that a
server is up, because Docker's proxy accepts connections before the server listens.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, TypeVar

from testcontainers.core.waiting_utils import WaitStrategy, WaitStrategyTarget

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Greeting", "eventually", "is_greeted"]

T = TypeVar("T")
START_SECONDS = 30.0
PAUSE_SECONDS = 0.03


def is_greeted(address: tuple[str, int], seconds: float = 20.0) -> bool:
    """Whether a server at this address says 220. It leaves politely, so its slot is free again."""
    try:
        with socket.create_connection(address, seconds) as client:
            is_good = client.recv(1000).startswith(b"220 ")
            client.sendall(b"QUIT\r\n")
            while client.recv(1000):
                pass
            return is_good
    except OSError:
        return False


class Greeting(WaitStrategy):
    """Ready is a container that greets on a port."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def wait_until_ready(self, container: WaitStrategyTarget) -> None:
        """Wait, or raise with the container's log."""
        eventually(lambda: self._is_ready(container), START_SECONDS, "a greeting")

    def _is_ready(self, container: WaitStrategyTarget) -> bool:
        wrapped = container.get_wrapped_container()
        wrapped.reload()
        if wrapped.status not in ("created", "running"):
            state = wrapped.attrs["State"]
            log = wrapped.logs().decode("utf-8", "replace")[-2000:]
            raise RuntimeError(f"the container ended with {state['ExitCode']}: {log}")
        return is_greeted(published(wrapped, self._port))


def published(container: Any, port: int) -> tuple[str, int]:
    """Return where a container's port is on this machine; it moves when a container restarts."""
    found = (container.ports.get(f"{port}/tcp") or [{}])[0]
    return found.get("HostIp", "127.0.0.1"), int(found.get("HostPort", 0))


def eventually(
    ask: Callable[[], T], seconds: float = 20.0, what: str = "", pause: float = PAUSE_SECONDS
) -> T:
    """Ask until the answer is true, and return it; fail when it is not when time is up."""
    until = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() > until
        if answer := ask():
            return answer
        if is_last:
            raise AssertionError(f"{what or 'it'} did not come in {seconds:g} s")
        time.sleep(pause)
