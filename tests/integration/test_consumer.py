"""The consumer of deployment/consume.py, killed at random: no message is lost, few are seen twice."""

import asyncio
import json
import os
import random
import signal
import smtplib
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import PATIENCE

CONSUMER = Path(__file__).parents[2] / "deployment" / "consume.py"
MESSAGES, KILLS = 24, 4
# Notes what it was given in a file, one line at once.
PROGRAM = """
import hashlib, os, sys
line = os.environ["PRIXFIXE_ID"] + " " + sys.stdin.buffer.read().split(b"\\r\\n\\r\\n")[1].decode()
with open(sys.argv[1], "ab", buffering=0) as file:
    file.write(line.strip().encode() + b"\\n")
"""


class Consumer:
    """The consumer as a process group, so that its program ends with it."""

    def __init__(self, url, notes, code=PROGRAM):
        program = [sys.executable, "-c", code, str(notes)]
        self.process = subprocess.Popen(
            [sys.executable, CONSUMER, f"--url={url}", "--", *program],
            start_new_session=True,
            stderr=subprocess.DEVNULL,
        )

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
async def server(start, tmp_path):
    running = await start(SMTP_STORE=f"sqlite:{tmp_path / 'mail.db'}", SMTP_HTTP_PORT="0")
    running.url = f"http://{running.bound.http}"
    return running


def send(port, words):
    with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client:
        for word in words:
            client.sendmail("a@example.com", ["b@example.com"], f"Subject: x\r\n\r\n{word}\r\n")


def left(url):
    with urllib.request.urlopen(f"{url}/api/v1/messages", timeout=PATIENCE) as answer:
        return json.loads(answer.read())["total"]


def noted(notes):
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [line.split(" ", 1) for line in lines]


def until(condition, what):
    end = time.monotonic() + 2 * PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def killed_again_and_again(server, notes):
    choose = random.Random(19)
    words = [f"message-{number}" for number in range(MESSAGES)]
    send(server.port, words[: MESSAGES // 2])
    for _ in range(KILLS):
        consumer = Consumer(server.url, notes)
        wanted = len(noted(notes)) + choose.randint(1, 3)
        until(lambda wanted=wanted: len(noted(notes)) >= wanted, "the consumer takes nothing")
        consumer.kill()
    consumer = Consumer(server.url, notes)
    try:
        send(server.port, words[MESSAGES // 2 :])  # while it waits
        until(lambda: left(server.url) == 0, "something is left")
    finally:
        consumer.kill()
    return words


async def test_a_killed_consumer_loses_nothing(server, tmp_path):
    notes = tmp_path / "notes"
    words = await asyncio.to_thread(killed_again_and_again, server, notes)
    seen = noted(notes)
    assert {word for _, word in seen} == set(words)
    assert len(seen) - len(words) <= KILLS  # at most one at each kill
    assert len({name for name, _ in seen}) == len(words)


FAILS_ONCE = f"""
import os, sys
mark = sys.argv[1] + os.environ["PRIXFIXE_ID"]
if not os.path.exists(mark):
    open(mark, "w").close()
    sys.exit(7)
{PROGRAM}"""


async def test_a_program_that_fails_gets_the_message_again(server, tmp_path):
    notes = tmp_path / "notes"
    consumer = Consumer(server.url, notes, FAILS_ONCE)
    try:
        await asyncio.to_thread(send, server.port, ["one", "two"])
        await asyncio.to_thread(until, lambda: len(noted(notes)) == 2, "no second try")
        await asyncio.to_thread(until, lambda: left(server.url) == 0, "something is left")
    finally:
        consumer.kill()
    assert sorted(word for _, word in noted(notes)) == ["one", "two"]
