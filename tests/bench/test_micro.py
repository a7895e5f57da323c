"""Micro-benchmarks of what every message goes through; nothing is asserted of time.

`pytest tests/bench --benchmark-autosave` before and `--benchmark-compare` after a change.
"""

import pytest

from prixfixe.smtp.address import parse_path
from prixfixe.smtp.data import DataReader, check_body
from prixfixe.smtp.parameters import MAIL_PARAMETERS, parse_parameters
from tests.support.session_driver import Talk

LIMIT = 1 << 20
LINE = b"x" * 76 + b"\r\n"
SEGMENT_OCTETS = 1 << 16
PATHS = {
    "plain": "<user@example.com> SIZE=1024",
    "full grammar": '<"a b"@example.com>',
    "Unicode": "<us\u00e9r@ex\u00e1mple.com>",
}
MESSAGE = (
    b"MAIL FROM:<a@example.com>\r\n",
    b"RCPT TO:<b@example.com>\r\n",
    b"DATA\r\n",
    LINE * 13 + b".\r\n",
)


def body(octets, *, is_dotted=False):
    line = b".." + LINE[2:] if is_dotted else LINE
    return line * (octets // len(line)) + b".\r\n"


@pytest.mark.parametrize("text", PATHS.values(), ids=PATHS)
def test_path(benchmark, text):
    mailbox, _ = benchmark(parse_path, text)
    assert mailbox == text[1 : text.index(">")]


def test_parameters(benchmark):
    text = " SIZE=1024 BODY=8BITMIME RET=HDRS ENVID=x"
    found = benchmark(parse_parameters, text, MAIL_PARAMETERS)
    assert len(found) == 4


@pytest.mark.parametrize("octets", [1 << 10, 100 << 10], ids=["1 KiB", "100 KiB"])
@pytest.mark.parametrize("is_dotted", [False, True], ids=["plain", "dotted"])
def test_data_reader(benchmark, octets, is_dotted):
    sent = body(octets, is_dotted=is_dotted)
    segments = [sent[at : at + SEGMENT_OCTETS] for at in range(0, len(sent), SEGMENT_OCTETS)]

    def read():
        reader = DataReader(LIMIT)
        for segment in segments:
            rest = reader.feed(segment)
        return rest, reader.take()

    rest, taken = benchmark(read)
    assert (rest, taken) == (b"", sent[:-3].replace(b"\r\n.", b"\r\n").removeprefix(b"."))


def test_check_body(benchmark):
    assert benchmark(check_body, LINE * 1313, strict=False) is None


def test_session_step(benchmark):
    """One message through the dialogue, command by command, without sockets or store."""
    talk = Talk()
    talk.send(b"EHLO bench.example.com\r\n")

    def step():
        talk.world.kept.clear()
        return [code for part in MESSAGE for code in talk.send(part)]

    assert benchmark(step) == [250, 250, 354, 250]
