"""How long lists, searches and waits take in a store that is full, and what the index costs.

`python -m tests.bench.search`: mail of 2 KiB of random words is put in a store, a server is started
on it, and its HTTP is asked. Prints tables; `--write` writes them into docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from prixfixe.mail.message import Envelope, IdSource, Message, Recipient
from prixfixe.stores.registry import index_path, open_store
from tests.bench import search_document, search_rival
from tests.bench.document import DOCUMENT, filled
from tests.bench.rivals.base import NotStartedError
from tests.bench.rivals.ours import commit

EVIDENCE = Path(__file__).parents[2] / "evidence" / "search.json"
GROUP = 500
ROUNDS = 40
WORDS = 5000
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
SHARES = {"p50": 0.5, "p95": 0.95}


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

    def __init__(self, url: str, **settings: str) -> None:
        environ = os.environ | {
            "SMTP_STORE": url,
            "SMTP_BIND": "127.0.0.1",
            "SMTP_PORT": "0",
            "SMTP_HTTP_BIND": "127.0.0.1",
            "SMTP_HTTP_PORT": "0",
            "SMTP_LOG_LEVEL": "error",
            **settings,
        }
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "prixfixe"], env=environ, stdout=subprocess.PIPE, text=True
        )
        words = self.process.stdout.readline().split()
        self.ready_seconds = time.perf_counter() - began
        bound = dict(word.split("=", 1) for word in words if "=" in word)
        self.smtp, self.address = bound["smtp"], bound["http"]

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection that is kept open."""
        return http.client.HTTPConnection(self.address, timeout=600)

    def peak(self) -> float:
        """Return the most resident memory so far, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return round(int(fields["VmHWM"].split()[0]) / 1024, 1)

    def busy_seconds(self) -> float:
        """Return the processor time it took."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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


def measure(served: Served, mail: Mail, messages: int) -> dict[str, dict[str, float]]:
    """Return p50 and p95 in milliseconds by what was asked, and how many messages were found."""
    connection, found = served.connection(), {}
    for name, path in paths(mail, messages).items():
        rounds = ROUNDS if "letter" not in name else 6
        took = [get(connection, path()) for _ in range(rounds)]
        found[name] = _times([ms for ms, _ in took], took[-1][1]["messages_count"])
    return found | {"a list while searches run": _beside(served, paths(mail, messages))}


def _times(values: list[float], count: int = 0) -> dict[str, float]:
    shares = {name: round(percentile(values, share), 1) for name, share in SHARES.items()}
    return {**shares, "found": count}


def _beside(served: Served, asked: dict[str, Any]) -> dict[str, float]:
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
    return _times(times)


def run(url: str, messages: int) -> dict[str, Any]:
    """Fill a store, ask a server on it, and return the figures."""
    mail = Mail()
    record: dict[str, Any] = {"store": url.partition(":")[0], "messages": messages}
    record["stored"] = asyncio.run(fill(url, mail, messages))
    served = Served(url)
    try:
        seconds = until(served, lambda detail: detail.startswith("ok"))
        record["summaries"] = messages / seconds
        say(f"{url}: summaries after {seconds:.0f} s")
        seconds = until(served, lambda detail: detail.startswith("ok") and "to come" not in detail)
        record["words"] = messages / seconds
        place = index_path(url)
        size = sum(each.stat().st_size for each in place.parent.glob(place.name + "*"))
        record["index"] = size / mail.bytes
        say(f"{url}: words after {seconds:.0f} s; asking")
        record["times"] = measure(served, mail, messages)
        record["peak"] = served.peak()
    finally:
        served.stop()
    served = Served(url)
    until(served, lambda detail: detail.startswith("ok"))
    record["ready"], record["peak again"] = served.ready_seconds, served.peak()
    served.stop()
    return record


# --- what receiving costs with the index


def receiving(folder: Path, messages: int, rounds: int) -> dict[str, list[float]]:
    """Return what receiving a message of 1 KiB takes in microseconds of processor time."""
    servers = {}
    for name, more in (("with", {}), ("without", {"SMTP_HTTP_PORT": "off"})):
        (folder / name).mkdir()
        servers[name] = Served(f"sqlite:{folder / name / 'x.db'}", **more)
    costs: dict[str, list[float]] = {name: [] for name in servers}
    try:
        for number in range(rounds + 1):
            for name in sorted(servers, reverse=bool(number % 2)):
                _rest(servers[name])
                cost = _cost(servers[name], messages)
                if number:  # the first one warms up
                    costs[name].append(cost)
    finally:
        for served in servers.values():
            served.stop()
    return costs


def _cost(served: Served, messages: int) -> float:
    count = ("-s", "20", "-m", str(messages), "-l", "1024", "-f", "a@b.test", "-t", "c@d.test")
    before = served.busy_seconds()
    subprocess.run(
        ["smtp-source", "-d", *count, f"inet:{served.smtp}"], check=True, capture_output=True
    )
    return (served.busy_seconds() - before) / messages * 1e6


def _rest(served: Served) -> None:
    """Wait until it does nothing any more."""
    while True:
        before = served.busy_seconds()
        time.sleep(0.5)
        if served.busy_seconds() - before <= 0.02:
            return


# --- the command


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.search", description=__doc__)
    parser.add_argument("--stores", default="sqlite,maildir")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--million", action="store_true", help="also 1,000,000 with sqlite")
    parser.add_argument("--folder", type=Path, help="where the stores are; some GiB")
    parser.add_argument("--rival", type=int, default=2000, help="messages for MailDev, or 0")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    parser.add_argument("--record", type=Path, help="measure nothing, take this record")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped
    record = json.loads(args.record.read_text()) if args.record else measured(args)
    found = search_document.parts(record)
    say("\n\n".join(found.values()))
    if args.write:
        DOCUMENT.write_text(filled(DOCUMENT.read_text(), found))


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """Measure all, and keep the record."""
    wanted = [(store, args.messages) for store in args.stores.split(",") if store]
    wanted += [("sqlite", 1_000_000)] if args.million else []
    record: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{os.cpu_count()} processors, Python {sys.version.split()[0]}",
        "commit": commit(),
        "load": [round(os.getloadavg()[0], 1)],
        "runs": [],
    }
    for store, messages in wanted:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            name = f"{folder}/{'x.db' if store == 'sqlite' else 'm'}"
            record["runs"].append(run(f"{store}:{name}", messages))
    record["receiving"] = {}
    if shutil.which("smtp-source"):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            record["receiving"] = receiving(Path(folder), 20_000, 5)
    record["rival"] = _beside_maildev(args.rival)
    record["load"].append(round(os.getloadavg()[0], 1))
    EVIDENCE.parent.mkdir(exist_ok=True)
    EVIDENCE.write_text(json.dumps(record, indent=1))
    return record


def _beside_maildev(messages: int) -> dict[str, Any]:
    if not messages:
        return {"missing": "not asked for"}
    try:
        return search_rival.compared(Mail, Served, messages)
    except (NotStartedError, OSError, subprocess.SubprocessError) as error:
        return {"missing": str(error)}


if __name__ == "__main__":
    main()
