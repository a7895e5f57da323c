import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.smtp import replies
from prixfixe.smtp.data import ChunkReader, DataReader, check_body

OCTETS = st.lists(st.sampled_from([b"\r\n", b".", b"..", b"a", b"\r", b"\n", b"\0"]), max_size=40)


def reference(stream):
    """Find the end and remove the dots, slowly and by the letter of RFC 5321 4.5.2."""
    body, at = b"", 0
    while True:
        end = stream.index(b"\r\n", at) + 2
        line = stream[at:end]
        if line == b".\r\n":
            return body, stream[end:]
        body += line.removeprefix(b".")
        at = end


def segments(octets, cuts):
    at = 0
    for size in cuts:
        yield octets[at : at + size]
        at += size
    yield octets[at:]


def drain(reader, parts):
    """Feed parts; return what came after the end."""
    rest = None
    for part in parts:
        if rest is not None:
            rest += part
        elif part:
            rest = reader.feed(part)
    return rest


@given(OCTETS, st.lists(st.integers(1, 7), max_size=60), st.integers(1, 60))
def test_data_reader_agrees_with_the_reference(lines, cuts, limit):
    stream = b"".join(lines) + b"\r\n.\r\nNOOP\r\n"
    body, rest = reference(stream)
    reader = DataReader(limit)
    assert drain(reader, segments(stream, cuts)) == rest
    assert reader.is_too_big == (len(body) > limit)
    if not reader.is_too_big:
        assert reader.take() == body


def test_data_reader_forgets_what_is_too_big():
    reader = DataReader(1000)
    for _ in range(1000):
        assert reader.feed(b"x" * 10_000) is None
        assert reader.held < 12_000
    assert reader.feed(b"\r\n.\r\n") == b""
    assert reader.is_too_big


def test_data_reader_does_not_count_stuffed_dots():
    reader = DataReader(1000)
    assert reader.feed(b"..\r\n" * 333 + b"x" + b"\r\n.\r\n") == b""
    assert not reader.is_too_big or len(b".\r\n" * 333 + b"x\r\n") > 1000


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=8), st.lists(st.integers(1, 5)))
def test_chunk_reader_joins_chunks(chunks, cuts):
    reader = ChunkReader(1000)
    for number, chunk in enumerate(chunks):
        reader.begin(len(chunk), is_last=number == len(chunks) - 1, refusal=None)
        rest = None
        for part in segments(chunk + b"NOOP", cuts):
            rest = reader.feed(part) if rest is None else rest + part
        assert rest == b"NOOP"
    assert reader.take() == b"".join(chunks)


def test_chunk_reader_drops_what_passes_the_limit():
    reader = ChunkReader(10)
    reader.begin(8, is_last=False, refusal=None)
    assert reader.feed(b"12345678") == b""
    reader.begin(8, is_last=True, refusal=None)
    assert reader.refusal is replies.TOO_BIG
    assert reader.feed(b"12345678QUIT") == b"QUIT"
    assert reader.held == 0


HOP = b"Received: from a by b; today\r\n"
VERDICTS = {
    "fine": (b"Subject: x\r\n\r\nbody\r\n", False, None),
    "no final line end": (b"x", False, None),
    "eight bits and NUL": (b"\xff\0\r\n", False, None),
    "bare LF": (b"a\nb\r\n", False, replies.BARE_LF),
    "LF alone": (b"a\nb\n", False, replies.BARE_LF),
    "bare CR": (b"a\rb\r\n", False, replies.BARE_LINE_END),
    "CR CR LF": (b"a\r\r\n", False, replies.BARE_LINE_END),
    "LF CR": (b"a\n\rb\r\n", False, replies.BARE_LINE_END),
    "long line, lenient": (b"x" * 5000 + b"\r\n", False, None),
    "long line, strict": (b"x" * 999 + b"\r\n", True, replies.MESSAGE_LINE_TOO_LONG),
    "long last line, strict": (b"\r\n" + b"x" * 999, True, replies.MESSAGE_LINE_TOO_LONG),
    "998 octets, strict": (b"x" * 998 + b"\r\n", True, None),
    "100 hops": (HOP * 100 + b"\r\n", False, None),
    "101 hops": (HOP * 101 + b"\r\n", False, replies.TOO_MANY_HOPS),
    "101 hops in lower case": (HOP.lower() * 101 + b"\r\n", False, replies.TOO_MANY_HOPS),
    "hops in the body do not count": (b"\r\n" + HOP * 150, False, None),
}


@pytest.mark.parametrize(("body", "strict", "expected"), VERDICTS.values(), ids=VERDICTS)
def test_check_body(body, strict, expected):
    assert check_body(body, strict=strict) is expected


@pytest.mark.parametrize(("body", "strict", "expected"), VERDICTS.values(), ids=VERDICTS)
def test_check_body_where_a_bare_lf_is_taken(body, strict, expected):
    expected = None if expected is replies.BARE_LF else expected
    assert check_body(body, strict=strict, takes_lf=True) is expected
