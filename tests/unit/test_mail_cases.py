"""Mail that real clients sent and that was shown wrong once; F1 to F21 are the faults' numbers."""

from pathlib import Path

import pytest

from prixfixe.http.api.mailpit import detail
from prixfixe.mail.message import Envelope, Message
from prixfixe.mail.mime import parse_message
from prixfixe.mail.summary import search_text, summarise

CASES = Path(__file__).parent / "mail_cases"
FOLDED = [
    ("Mustermann-Schmidt, Maximilian", "max@example.org"),
    ("Van der Long-Lastname, Bartholomew", "bart@example.org"),
    ("O'Connor-Smythe, Wilhelmina Q.", "will@example.org"),
    ("Sales, Marketing and Distribution", "smd@example.org"),
    ("Featherstonehaugh, Cholmondeley", "chol@example.org"),
]


def shown(name):
    body = (CASES / f"{name}.eml").read_bytes()
    return detail(Message("1", 0.0, Envelope("a@b.test", ()), body), parse_message(body))


def pairs(contacts):
    return [(one["Name"], one["Address"]) for one in contacts]


def names(record):
    return [one["FileName"] for one in record["Attachments"]]


def content(name, number):
    parts = parse_message((CASES / f"{name}.eml").read_bytes()).parts
    return next(part.content for part in parts if part.number == number)


@pytest.mark.parametrize("client", ["django", "nodemailer"])
def test_f1_a_name_folded_inside_its_quotes(client):
    record = shown(f"folded-quoted-name-{client}")
    assert pairs(record["To"]) == FOLDED
    assert record["Bcc"] == []


def test_f1_the_shortest_of_its_kind():
    record = shown("min-folded-quoted-name")
    assert pairs([record["From"]]) == [("A very long name", "a@example.com")]
    assert pairs(record["To"]) == [("Doe, Jane", "jane@example.org"), ("", "bob@example.org")]


def test_f4_a_bounce_shows_its_report_and_the_mail():
    record = shown("postfix-bounce")
    assert [(one["ContentType"], one["FileName"]) for one in record["Inline"]] == [
        ("message/global-delivery-status", "part-2.txt"),
        ("message/global", "part-3.eml"),
    ]
    assert record["Text"].startswith("This is the mail system at host pf.example.com.\n\nI'm sorry")
    assert "Reporting-MTA" not in record["Text"]
    assert "Ünïcode" not in record["Text"]
    assert b"Final-Recipient: utf-8; " in content("postfix-bounce", "2")
    assert pairs(record["To"]) == [("", "jörg@exämple.example")]


def test_f5_an_attached_message_is_what_was_sent():
    raw = (CASES / "10-forward-as-attachment-no-name.eml").read_bytes()
    start, end = raw.index(b"From: old@example.com"), raw.index(b"\r\n--B12--")
    assert content("10-forward-as-attachment-no-name", "2") == raw[start:end]
    assert names(shown("10-forward-as-attachment-no-name")) == ["part-2.eml"]


def test_f6_an_attached_message_in_base64_is_decoded():
    inner = content("symfony-rfc822-base64", "2")
    assert len(inner) == 427
    assert inner.startswith(b"From: Old <old@example.net>\r\nTo: ann@example.com\r\n")
    assert names(shown("symfony-rfc822-base64")) == ["forwarded.eml"]


def test_f9_html_alone_has_a_text_a_snippet_and_words():
    body = (CASES / "min-html-only.eml").read_bytes()
    message, parsed = Message("1", 0.0, Envelope("a@b.test", ()), body), parse_message(body)
    assert shown("min-html-only")["Text"] == ("Reset\n\nClick here ( http://x.example/y?t=1 ) & go")
    assert summarise(message).snippet == "Reset Click here & go"
    words = search_text(message, parsed).text
    assert "click here & go" in words
    assert "http://x.example/y?t=1" in words
    assert "color" not in words


def test_f11_the_extended_file_name_wins():
    assert names(shown("42-rfc2231-continuations")) == [
        "quarterly figures for the northern region.pdf",
        "Größe plain.pdf",
        "wins✓.pdf",
        "unquoted-and-out-of-order.xml",
    ]


def test_f12_doubled_blanks_stay():
    record = shown("min-two-spaces")
    assert record["Subject"] == "Order  12   ready"
    assert names(record) == ["a  b.pdf"]


def test_f13_one_bad_word_spoils_nothing_else():
    assert shown("41b-encoded-word-odd")["Subject"] == (
        "case 41b lang tab\tin aéb =?utf-8?X?zz?= =?utf-8?B?!!!?="
    )


def test_f13_a_charset_under_its_name_in_mail():
    record = shown("11-charset-iso-8859-8-i")
    assert (record["Subject"], record["Text"]) == ("שלום case 11", "שלום plain text\n")


def test_f14_an_encoded_word_with_a_comma():
    assert pairs([shown("min-encoded-word-comma")["From"]]) == [("Müller, Jörg", "a@example.com")]


def test_f15_transfer_encodings_as_senders_write_them():
    record = shown("30-cte-trailing-space")
    assert record["Text"] == "Hello from case 30."
    contents = [content("30-cte-trailing-space", str(number)) for number in range(2, 7)]
    assert contents == [b"first halfsecond half", b"wOF2", b"ABC", b"Cat", b"raw bytes"]


def test_f16_a_multipart_without_a_boundary_is_read():
    record = shown("20c-multipart-without-boundary")
    assert record["Text"] == "this text must be visible\n"
    assert (record["Inline"], record["Attachments"]) == ([], [])


def test_f17_a_name_beyond_ascii():
    assert names(shown("13-filename-non-latin1")) == ["отчёт – “2026”.txt"]


def test_f21_a_blank_before_the_colon():
    record = shown("44c-space-before-colon")
    assert (record["Subject"], record["Text"]) == ("case 44c", "body\n")
    assert pairs([record["From"]]) == [("", "bot@example.com")]
