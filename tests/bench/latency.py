"""Measure how long a message waits for its 250 at half of a server's highest rate.

`prixfixe load` first runs as fast as it can, then on a schedule at half of that rate. Latency
counts from the time at which a message was due.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.bench.generator import CONNECTIONS, GeneratorError, messages_for
from tests.bench.runner import started

if TYPE_CHECKING:
    from tests.bench.rivals.base import Rival

__all__ = ["at_half_rate"]


def at_half_rate(rival: Rival, seconds: float) -> dict[str, Any]:
    """Return the highest rate, and latencies in milliseconds at half of it over so many seconds."""
    with started(rival) as server:
        target = "{}:{}".format(*server.address)
        most = 0.0
        for part in (0.2, 0.5):  # the first finds how many the second sends
            most = _load(target, messages_for(most or 1000, part * seconds))["messages_per_second"]
        half = _load(target, messages_for(most / 2, seconds), f"--rate={most / 2:.0f}")
    return {"most": most, "rate": most / 2, "latency_ms": half["latency_ms"]}


def _load(target: str, messages: int, *options: str) -> dict[str, Any]:
    sizes = (f"--messages={messages}", f"--workers={CONNECTIONS}", "--size=1KiB")
    command = [sys.executable, "-m", "prixfixe", "load", target, *sizes, *options, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise GeneratorError(done.stdout + done.stderr)
    return dict(json.loads(done.stdout))
