"""How long lists, searches and waits take in a store that is full, and what the index costs.

`python -m tests.bench.search --store sqlite --messages 100000 --folder DIR`: mail of 2 KiB of random
words is put in a store, a server is started on it, and its HTTP is asked. Prints a table.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote

from prixfixe.mail.message import Envelope, IdSource, Message, Recipient
from prixfixe.stores.registry import index_path, open_store

GROUP = 500
ROUNDS = 40
WORDS = 5000
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - what it is for


class Mail:
    """Messages of random words, the same for the same seed."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._words = [self._word() for _ in range(WORDS)]
        self._ids = IdSource()
        self.bytes = 0

    def _word(self) -> str:
        weights = range(len(LETTERS), 0, -1)
        return "".join(self._random.choices(LETTERS, weights, k=self._random.randint(2, 10)))

    def word(self) -> str:
        """Return one of the words that many messages have."""
        return self._random.choice(self._words)

    def message(self, number: int) -> Message:
        """Return a message of a little over 2 KiB."""
        lines, size = [f"m{number}x"], 0
        while size < 2048:
            lines.append(" ".join(self._random.choices(self._words, k=11)))
            size += len(lines[-1]) + 2
        made, at = self._ids()
        head = (
            f"From: Alice <a{number % 97}@x.test>\r\nTo: Bob {number} <user{number}@y.test>\r\n"
            f"Subject: number {number} of {self.word()}\r\nMessage-ID: <{number}.{made}@x.test>\r\n"
            "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        )
        body = (head + "\r\n".join(lines) + "\r\n").encode()
        self.bytes += len(body)
        to = (Recipient(f"user{number}@y.test"),)
        return Message(made, at, Envelope(f"a{number % 97}@x.test", to), body)


async def fill(url: str, mail: Mail, messages: int) -> float:
    """Put messages in a store; return how many a second it took."""
    store = open_store(url)
    await store.open()
    began = time.perf_counter()
    for at in range(0, messages, GROUP):
        await asyncio.gather(*(store.put(mail.message(at + n)) for n in range(GROUP)))
    await store.close()
    return messages / (time.perf_counter() - began)


class Served:
    """A server on the store, in a process of its own."""

    def __init__(self, url: str) -> None:
        environ = os.environ | {
            "SMTP_STORE": url,
            "SMTP_BIND": "127.0.0.1",
            "SMTP_PORT": "0",
            "SMTP_HTTP_BIND": "127.0.0.1",
            "SMTP_HTTP_PORT": "0",
            "SMTP_LOG_LEVEL": "error",
        }
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "prixfixe"], env=environ, stdout=subprocess.PIPE, text=True
        )
        words = self.process.stdout.readline().split()
        self.ready_seconds = time.perf_counter() - began
        self.address = dict(word.split("=", 1) for word in words if "=" in word)["http"]

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection that is kept open."""
        return http.client.HTTPConnection(self.address, timeout=600)

    def memory(self) -> str:
        """Return resident memory now and at its peak, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return " / ".join(f"{int(fields[name].split()[0]) >> 10}" for name in ("VmRSS", "VmHWM"))

    def stop(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(60)


def get(connection: http.client.HTTPConnection, path: str) -> tuple[float, dict]:
    """Return how many milliseconds an answer took, and the answer."""
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, (path, answer.status, body[:200])
    return (time.perf_counter() - began) * 1000, json.loads(body)


def until(served: Served, is_so) -> float:
    """Wait until the detail of the index's check is so; return the seconds."""
    connection, began = served.connection(), time.perf_counter()
    while not is_so(get(connection, "/readyz")[1]["checks"]["index"]["detail"]):
        time.sleep(0.2)
    return time.perf_counter() - began


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def paths(mail: Mail, messages: int) -> dict[str, object]:
    """Return what is asked, by name; each call gives the next path."""
    choose = random.Random(2)

    def search(text: str) -> str:
        return "/api/v1/search?query=" + quote(text)

    def number() -> int:
        return choose.randrange(messages)

    return {
        "to:": lambda: search(f"to:user{number()}@y.test"),
        "subject:": lambda: search(f'subject:"number {number()} of"'),
        "message-id:": lambda: search(f"message-id:{number()}."),
        "to: (all match)": lambda: search("to:y.test"),
        "a rare word": lambda: search(f"m{number()}x"),
        "a common word": lambda: search(mail.word().ljust(3, "e")),
        "two letters": lambda: search(choose.choice(["qz", "xj", "th"])),
        "one letter": lambda: search("q"),
        "is:unread": lambda: search("is:unread"),
        "wait, mail is there": lambda: f"/api/v1/wait?query=to:user{number()}@y.test",
        "a list page": lambda: f"/api/v1/messages?start={number()}&limit=50",
        "the first list page": lambda: "/api/v1/messages",
    }


def measure(served: Served, mail: Mail, messages: int) -> None:
    connection = served.connection()
    for name, path in paths(mail, messages).items():
        rounds = ROUNDS if "letter" not in name else 6
        took = [get(connection, path()) for _ in range(rounds)]
        times, found = [ms for ms, _ in took], took[-1][1]["messages_count"]
        say(f"| {name} | {percentile(times, 0.5):.1f} | {percentile(times, 0.95):.1f} | {found} |")
    _measure_beside(served, paths(mail, messages))


def _measure_beside(served: Served, asked: dict) -> None:
    """Measure lists while searches run."""
    is_over = threading.Event()

    def search() -> None:
        connection = served.connection()
        while not is_over.is_set():
            get(connection, asked["two letters"]())

    thread = threading.Thread(target=search)
    thread.start()
    connection = served.connection()
    times = [get(connection, "/api/v1/messages")[0] for _ in range(100)]
    is_over.set()
    thread.join()
    say(
        f"| a list while searches run | {percentile(times, 0.5):.1f} | {percentile(times, 0.95):.1f} | |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=("sqlite", "maildir"), default="sqlite")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        run(f"{args.store}:{folder}/{'x.db' if args.store == 'sqlite' else 'm'}", args.messages)


def run(url: str, messages: int) -> None:
    mail = Mail()
    say(f"stored: {asyncio.run(fill(url, mail, messages)):.0f} messages/s")
    served = Served(url)
    try:
        seconds = until(served, lambda detail: detail.startswith("ok"))
        say(f"summaries: {messages / seconds:.0f} messages/s; MiB {served.memory()}")
        seconds = until(served, lambda detail: detail.startswith("ok") and "to come" not in detail)
        say(f"words: {messages / seconds:.0f} messages/s; MiB {served.memory()}")
        size = sum(
            each.stat().st_size for each in index_path(url).parent.glob(index_path(url).name + "*")
        )
        say(f"index: {size / mail.bytes:.2f} of the mail\n\n| asked | p50 ms | p95 ms | found |")
        say("|---|---|---|---|")
        measure(served, mail, messages)
        say(f"\nMiB {served.memory()}")
    finally:
        served.stop()
    served = Served(url)
    until(served, lambda detail: detail.startswith("ok"))
    say(f"ready again after {served.ready_seconds:.2f} s; MiB {served.memory()}")
    served.stop()


if __name__ == "__main__":
    main()
