"""Summaries, search text, and the form in which both are compared."""

import json
import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.http.api.mailpit import detail
from prixfixe.http.pieces import json_pieces
from prixfixe.mail.folding import fold
from prixfixe.mail.message import Envelope, Message, Recipient
from prixfixe.mail.mime import parse_message
from prixfixe.mail.summary import (
    MAX_LISTED_CONTACTS,
    SEARCHED_FIELDS,
    message_date,
    search_text,
    summarise,
    tags,
)

SAME = [
    ("STRASSE", "straße"),
    ("ÄRGER", "a\u0308rger"),
    ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ("σίσυφοσ", "ΣΊΣΥΦΟΣ"),
    ("\u1112\u1161\u11ab", "한"),  # Hangul in pieces
    ("a  b\r\n\tc", "A B C"),
    (" a ", "a"),
    ("\ufb01x", "FIX"),  # a ligature
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_these_are_the_same(one, other):
    assert fold(one) == fold(other)


def test_these_are_not():
    assert fold("a") != fold("ä")
    assert fold("ab") != fold("a b")


def plainly(text):
    composed = unicodedata.normalize("NFC", text).casefold()
    return " ".join(unicodedata.normalize("NFC", composed).split())


PIECES = ["a", "Ä", "a\u0308", "ß", " ", "\n", "\u1112", "\u1161", "\u11ab", "Σ", "\u0327", "日", "\u0bc6", "\u0bbe"]  # fmt: skip


@given(st.text(max_size=100) | st.lists(st.sampled_from(PIECES), max_size=60).map("".join), st.integers(1, 40))  # fmt: skip
def test_a_long_text_is_folded_as_a_short_one(text, times):
    """Cut where nothing is composed with its neighbour; runs of marks beyond use are left out."""
    text = " ".join([text] * times) + "x" * 300
    runs = "".join("m" if unicodedata.category(one)[0] == "M" else "." for one in text)
    if "m" * 100 not in runs:
        assert fold(text) == plainly(text)


@pytest.mark.parametrize("unit", ["wort ", "ä", "a\u0308 ", "x", "\u1112\u1161\u11ab", "日本\n"])
def test_large_texts_are_folded_alike(unit):
    text = unit * (150_000 // len(unit))
    assert fold(text) == plainly(text)


@given(st.text(max_size=80))
def test_folding_twice_changes_nothing(text):
    if fold(text) != fold(fold(text)):  # Unicode itself is not stable for a few marks.
        assert fold(fold(text)) == plainly(plainly(text))


MAIL = (
    "From: Ann <ann@x.test>\r\nTo: Bob <bob@y.test>, not an address\r\nCc: carol@y.test\r\n"
    "Reply-To: Désirée <re@x.test>\r\nBcc: dan@y.test\r\nSubject: Straße  12\r\n"
    "Message-ID: <M1@x.test>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0100\r\nX-Tags: two, One, two, a/b\r\n"
    "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nPlain\r\nwords\r\n"
    "--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Click <a href=http://l.test/>here</a></p>\r\n"
    "--b\r\nContent-Disposition: attachment; filename=Report.pdf\r\n\r\nx\r\n"
    "--b\r\nContent-Type: image/png; name=Logo.png\r\nContent-ID: <c>\r\n\r\nx\r\n--b--\r\n"
).encode()
ENVELOPE = Envelope(
    "bounce@x.test", (Recipient("bob@y.test"), Recipient("hidden@z.test")), user="u"
)
MESSAGE = Message("1", 12.5, ENVELOPE, MAIL)


def test_a_summary_has_what_lists_show():
    summary = summarise(MESSAGE)
    people = summary.contacts
    assert people.sender == ("Ann", "ann@x.test")
    assert people.to == (("Bob", "bob@y.test"), ("not an address", ""))
    assert people.cc == (("", "carol@y.test"),)
    assert people.bcc == (("", "dan@y.test"), ("", "hidden@z.test"))
    assert people.reply_to == (("Désirée", "re@x.test"),)
    assert (summary.id, summary.message_id, summary.subject) == ("1", "M1@x.test", "Straße  12")
    assert (summary.created, summary.size, summary.username) == (12.5, len(MAIL), "u")
    assert (summary.attachments, summary.inline) == (1, 1)
    assert summary.snippet == "Click here"
    assert summary.tags == ("a b", "One", "two")


def test_a_search_is_told_all():
    text = search_text(MESSAGE, parse_message(MAIL))
    assert text.field("to") == "bob bob@y.test\nnot an address\nbob@y.test\nhidden@z.test"
    assert text.field("from") == "ann ann@x.test\nbounce@x.test"
    assert text.field("cc") == "carol@y.test"
    assert text.field("bcc") == "dan@y.test\nhidden@z.test"
    assert text.field("reply-to") == "désirée re@x.test"
    assert text.field("subject") == "strasse 12"
    assert text.field("message-id") == "<m1@x.test>"
    assert text.field("files") == "report.pdf\nlogo.png"
    assert text.field("text") == "plain words\nclick here\nhttp://l.test/"
    for name in SEARCHED_FIELDS:
        assert text.field(name) in text.field("")
        assert (text.field(name) in text.field("addressed")) == (name in SEARCHED_FIELDS[:5])
    assert not text.is_cut("")


def test_what_may_hold_more_is_named():
    header = b"X: y\r\n" * 60_000
    text = search_text(MESSAGE, parse_message(header + b"\r\nx"))
    assert all(text.is_cut(name) for name in (*SEARCHED_FIELDS, "", "addressed"))
    parts = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 1001
    text = search_text(MESSAGE, parse_message(parts))
    assert text.is_cut("text")
    assert not text.is_cut("to")


def test_mail_without_anything_has_a_summary():
    message = Message("1", 0.0, Envelope("s@x.test", (Recipient("r@y.test"),)), b"")
    summary = summarise(message)
    assert summary.contacts == (("", "s@x.test"), (), (), (("", "r@y.test"),), ())
    assert (summary.subject, summary.snippet, summary.tags) == ("", "", ())


SNIPPETS = {
    "a text": (b"a\r\n  b", "a b"),
    "a long text": (b"word " * 100, ("word " * 100)[:200] + "..."),
    "HTML first": (MAIL, "Click here"),
    "HTML without words": (
        MAIL.replace(b"<p>Click", b"<script>").replace(b"here</a></p>", b""),
        "Plain words",
    ),
    "a large style": (
        b"Content-Type: text/html\r\n\r\n<style>" + b"p{} " * 30_000 + b"</style>far",
        "far",
    ),
}


@pytest.mark.parametrize(("body", "snippet"), SNIPPETS.values(), ids=SNIPPETS)
def test_a_snippet_is_the_first_words(body, snippet):
    body = body if b":" in body[:20] else b"\r\n" + body
    assert summarise(MESSAGE._replace(body=body)).snippet == snippet
    assert len(snippet) <= 250


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Tue, 24 Nov 2026 10:00:00 +0100", datetime(2026, 11, 24, 9, tzinfo=UTC)),
        ("Tue, 24 Nov 2026 10:00:00 -0000", datetime(2026, 11, 24, 10, tzinfo=UTC)),
        ("24 Nov 2026 10:00 GMT", datetime(2026, 11, 24, 10, tzinfo=UTC)),
        ("yesterday", datetime.fromtimestamp(12.5, UTC)),
        ("", datetime.fromtimestamp(12.5, UTC)),
        ("1 Jan 99999999999999999 10:00 GMT", datetime.fromtimestamp(12.5, UTC)),
        ("Tue, 24 Nov 2026 10:00:00 +9999999999", datetime.fromtimestamp(12.5, UTC)),
        ("9" * 100_000, datetime.fromtimestamp(12.5, UTC)),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_date_is_read_or_the_arrival_stands_for_it(written, shown):
    parsed = parse_message(f"Date: {written}\r\n\r\n".encode())
    assert message_date(MESSAGE, parsed) == shown


def test_tags_are_bounded():
    parsed = parse_message(b"X-Tags: " + b", ".join(b"t%d" % n for n in range(5000)) + b"\r\n\r\n")
    assert len(tags(parsed)) == 100
    parsed = parse_message(b"X-Tags: " + b"x" * 5000 + b"\r\n\r\n")
    assert tags(parsed) == ("x" * 100,)


def test_a_list_is_bounded_and_a_message_is_shown_whole():
    boxes = [f"u{number}@x.test" for number in range(5000)]
    body = f"To: {', '.join(boxes)}\r\n\r\n".encode()
    message, parsed = MESSAGE._replace(body=body), parse_message(body)
    assert [one.address for one in summarise(message).contacts.to] == boxes[:MAX_LISTED_CONTACTS]
    assert [one["Address"] for one in detail(message, parsed)["To"]] == boxes


@pytest.mark.parametrize("body", [MAIL, b"", b"\r\n" + "ä\U0001f4e7".encode() * 30_000], ids=len)
def test_json_in_pieces_is_the_json(body):
    record = detail(MESSAGE._replace(body=body), parse_message(body))
    pieces = list(json_pieces(record))
    assert b"".join(pieces) == json.dumps(record, separators=(",", ":")).encode() + b"\n"
    assert max(map(len, pieces)) <= 12 * 32 * 1024


@given(st.binary(max_size=600), st.sampled_from([b"", MAIL[:700], MAIL]))
def test_no_mail_raises(octets, before):
    message = MESSAGE._replace(body=before + octets)
    parsed = parse_message(message.body)
    summary = summarise(message, parsed)
    assert len(summary.snippet) <= 250
    search_text(message, parsed)
    b"".join(json_pieces(detail(message, parsed))).decode("ascii")
