"""MailDev of npm beside PrixFixe, with the same mail in memory: asked for lists and words."""

from __future__ import annotations

import http.client
import shutil
import smtplib
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.bench.rivals.base import NotStartedError, Spawned, free_port, greets

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["compared"]

FOLDER = Path(__file__).parent / "maildev"
ROUNDS = 20
SECONDS = 300


def compared(mail: Any, served: Any, messages: int) -> dict[str, Any]:
    """Return the figures of both servers, by name. Raises `NotStartedError`."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            raise NotStartedError(f"{program} is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "maildev"
        shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("node_modules"))
        npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(npm, cwd=folder, check=True, capture_output=True, timeout=SECONDS)
        found = {"messages": messages, "MailDev 3.0.0": _maildev(folder, mail(), messages)}
    ours = served("memory:")
    try:
        asked = {
            "a list page": lambda _word: "/api/v1/messages",
            "a word": lambda word: "/api/v1/search?query=" + quote(word),
        }
        found["PrixFixe, `memory`"] = _figures(ours.smtp, ours.address, mail(), messages, asked) | {
            "memory": ours.peak()
        }
    finally:
        ours.stop()
    return found


def _maildev(folder: Path, mail: Any, messages: int) -> dict[str, float]:
    smtp, web = free_port(), free_port()
    command = ["node", "node_modules/.bin/maildev", "--silent", "--ip", "127.0.0.1"]
    command += ["--web-ip", "127.0.0.1", "--smtp", str(smtp), "--web", str(web)]
    server = Spawned(command, folder, lambda _server: greets(smtp))
    try:
        asked = {
            "a list page": lambda _word: "/api/email/summary?limit=50",
            "a word": lambda word: f"/api/email/summary?limit=50&search={quote(word)}",
        }
        where = f"127.0.0.1:{web}"
        found = _figures(f"127.0.0.1:{smtp}", where, mail, messages, asked)
        status = Path(f"/proc/{server.root().pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return found | {"memory": round(int(peak.split()[1]) / 1024, 1)}
    finally:
        server.stop()


def _figures(
    smtp: str, web: str, mail: Any, messages: int, asked: dict[str, Callable[[str], str]]
) -> dict[str, float]:
    """Return messages a second on one connection, and medians of milliseconds."""
    host, _, port = smtp.rpartition(":")
    began = time.perf_counter()
    with smtplib.SMTP(host, int(port), timeout=SECONDS) as client:
        for number in range(messages):
            body = mail.message(number).body
            client.sendmail("a@x.test", [f"user{number}@y.test"], body)
    found = {"received": messages / (time.perf_counter() - began)}
    connection = http.client.HTTPConnection(web, timeout=SECONDS)
    for name, path in asked.items():
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            connection.request("GET", path(mail.word()))
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise NotStartedError(f"{path('x')} was answered {answer.status}")
            times.append((time.perf_counter() - began) * 1000)
        found[name] = sorted(times)[ROUNDS // 2]
    return found
