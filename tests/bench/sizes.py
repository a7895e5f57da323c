"""What a server takes at how many connections: `python -m tests.bench.sizes` prints the table.

Each connection stays open; mail of 10 KiB comes by the clock. It needs no idle machine: memory and
descriptors do not depend on it, and the processor's share hardly.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = 10
# Connections, and messages a second over all of them.
ROWS = {10: 10, 100: 100, 1000: 300}


def _status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def _processor(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(connections: int, rate: int) -> str:
    """Return the table's row for this many connections."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            **os.environ,
            "SMTP_BIND": "127.0.0.1",
            "SMTP_PORT": "0",
            "SMTP_HTTP_PORT": "0",
            "SMTP_STORE": f"sqlite:{folder}/prixfixe.db",
            "SMTP_MAX_CONNECTIONS": str(connections + 10),
            "SMTP_LOG_LEVEL": "warning",
        }
        program = [sys.executable, "-m", "prixfixe"]
        with subprocess.Popen([*program, "serve"], env=environ, stdout=subprocess.PIPE) as server:
            assert server.stdout
            port = re.search(rb"smtp=127\.0\.0\.1:(\d+)", server.stdout.readline())
            assert port
            words = [f"--workers={connections}", f"--rate={rate}", "--size=10KiB"]
            target = [f"127.0.0.1:{port[1].decode()}", f"--messages={rate * SECONDS}"]
            before = _processor(server.pid)
            with subprocess.Popen([*program, "load", *target, *words]) as load:
                descriptors = 0
                while load.poll() is None:
                    descriptors = max(descriptors, len(os.listdir(f"/proc/{server.pid}/fd")))
                    try:
                        load.wait(0.1)
                    except subprocess.TimeoutExpired:
                        continue
            assert load.returncode == 0
            share = (_processor(server.pid) - before) / SECONDS
            memory = _status(server.pid, "VmHWM") >> 10
            server.terminate()
    return f"| {connections} | {rate} | {memory} MiB | {share:.0%} | {descriptors} |"


if __name__ == "__main__":
    for row in [measure(*one) for one in ROWS.items()]:
        print(row)  # noqa: T201 - it is what the program is for
