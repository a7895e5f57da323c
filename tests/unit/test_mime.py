import gc
import json
import tracemalloc
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.http.api.mailpit import Entry, detail, taken_apart
from prixfixe.http.api.summaries import MAX_OCTETS, Listed, Summaries
from prixfixe.mail.message import Envelope, Message, Recipient
from prixfixe.mail.mime import header_fields, parse_message
from prixfixe.mail.mime_limits import MAX_PARTS
from prixfixe.mail.summary import summarise


def body(octets, kind="text/plain"):
    return "".join(part.text() for part in parse_message(octets).texts(kind))


def whole():
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = "Grüße"
    mail["From"] = '"Ünal, A" <a@x.test>'
    mail["To"] = "b@y.test, Carol <c@y.test>"
    mail.set_content("Hallo Welt\n")
    mail.add_alternative("<p>Hallo <img src='cid:pic'></p>", subtype="html")
    mail.get_payload()[1].add_related(b"PNG", "image", "png", cid="<pic>")
    mail.add_attachment(b"\0\1", maintype="application", subtype="x-y", filename="ä.bin")
    return mail.as_bytes()


def test_parts_are_numbered_and_decoded():
    parsed = parse_message(whole())
    assert [(part.number, part.content_type) for part in parsed.parts] == [
        ("1.1", "text/plain"),
        ("1.2.1", "text/html"),
        ("1.2.2", "image/png"),
        ("2", "application/x-y"),
    ]
    assert parsed.header.text("Subject") == "Grüße"
    assert list(parsed.addresses("From")) == [("Ünal, A", "a@x.test")]
    assert body(whole()) == "Hallo Welt\n"
    assert (parsed.parts[3].file_name, parsed.parts[3].content) == ("ä.bin", b"\0\1")
    assert parsed.parts[2].content_id == "pic"


@pytest.mark.parametrize(
    ("charset", "octets", "text"),
    [
        ("iso-8859-1", b"\xe9", "é"),
        ("windows-1251", b"\xcf", "П"),
        ("no-such-charset", b"abc", "abc"),
        ("utf-8", b"\xff", "�"),
        ("shift_jis", b"\x93\xfa", "日"),
    ],
)
def test_text_in_any_charset(charset, octets, text):
    assert body(f"Content-Type: text/plain; charset={charset}\r\n\r\n".encode() + octets) == text


HOSTILE = {
    "empty": b"",
    "only a body": b"\r\nx",
    "lying word": b"Subject: =?utf-8?b?////?=\r\n\r\n",
    "unknown charset word": b"Subject: =?nope?q?x?=\r\n\r\n",
    "bad date": b"Date: yesterday\r\n\r\n",
    "bad base64": b"Content-Transfer-Encoding: base64\r\n\r\n!!!!",
    "bad type": b"Content-Type: /;;;=\r\n\r\nx",
    "bad file name": b"Content-Disposition: attachment; filename*=x''%ff%\r\n\r\nx",
    "boundary missing": b"Content-Type: multipart/mixed\r\n\r\nx",
    "boundary never comes": b"Content-Type: multipart/mixed; boundary=b\r\n\r\nx",
    "deep": b"".join(
        b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(3000)
    ),
    "many": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 3000,
    "8-bit header": b"Subject: \xff\xfe\r\nFrom: \xff <a@b>\r\n\r\n",
    "bad padding in a word": b"Subject: =?utf-8?b?a?=\r\n\r\n",
    "nested comments": b"From: " + b"(" * 5000 + b"\r\n\r\n",
    "charset idna": b"Content-Type: text/plain; charset=idna\r\n\r\n\xff..x",
    "charset undefined": b"Content-Type: text/plain; charset=undefined\r\n\r\nx",
    "charset punycode": b"Content-Type: text/plain; charset=punycode\r\n\r\n\xff",
    "charset utf-16 surrogate": b"Content-Type: text/plain; charset=utf-16\r\n\r\n\xff\xfe\x00\xd8",
    "endless header": b"X: y\r\n" * 200_000,
    "endless part header": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    + b"X: y\r\n" * 200_000,
    "endless field": b"To: " + b"a@b.test, " * 100_000 + b"\r\n\r\n",
    "attached message": b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx",
}


@pytest.mark.parametrize("mail", HOSTILE.values(), ids=HOSTILE)
def test_hostile_mail_is_taken_apart(mail):
    parsed = parse_message(mail)
    assert 1 <= len(parsed.parts) <= MAX_PARTS
    assert isinstance(parsed.header.text("Subject"), str)
    assert all(isinstance(part.text(), str) for part in parsed.parts)
    list(parsed.addresses("From"))
    header_fields(mail)


@given(st.binary(max_size=500))
def test_any_octets_are_taken_apart(mail):
    parse_message(mail)
    header_fields(mail)


def test_work_on_hostile_mail_is_bounded():
    body = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 500_000
    tracemalloc.start()
    parsed = parse_message(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(parsed.parts) == 1
    assert peak < 4 * len(body)


@pytest.mark.parametrize(
    "line",
    [b"\r\n", b"a b c d e f g h i j k l m n o p q r s t u v w x y z\r\n", b"x" * 74 + b"\r\n"],
)
def test_a_list_entry_costs_a_few_times_the_message(line):
    """What a sender chose must not decide how much memory a reader of the list needs."""
    body = b"Subject: x\r\n\r\n" + line * (2_000_000 // len(line))
    message = Message("1", 0.0, Envelope("a@b.test", ()), body)
    summarise(message, parse_message(b""))  # imports and caches are not counted
    tracemalloc.start()
    try:
        summarise(message)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(body) / 4


ADDRESSES = {
    "short": b"a@b, ",
    "names": b'"\xf0\x9f\x93\xa7 name" <a@b.test>, ',
    "words": b"=?utf-8?q?a?= <a@b>, ",
    "commas": b"a,",
    "one": b"x",
}


def worst(address, subject=b"\xf0\x9f\x93\xa7"):
    fields = (b"To: ", b"Cc: ", b"Bcc: ", b"Reply-To: ")
    lines = b"".join(name + address * (50_000 // len(address)) + b"\r\n" for name in fields)
    ids = b"Message-ID: " + b"m" * 10_000 + b"\r\nSubject: " + subject * 5000 + b"\r\n"
    return Message("1", 0.0, Envelope("a@b.test", ()), lines + ids + b"\r\n" + subject * 5000)


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_what_is_kept_of_a_list_entry_is_bounded(address):
    message = worst(address)
    # Imports and caches are not counted.
    summarise(Message("1", 0.0, Envelope("a@b.test", ()), b"To: " + address + b"\r\n\r\n"))
    tracemalloc.start()
    try:
        kept = summarise(message)
        gc.collect()
        octets = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept
    assert octets < 256 * 1024


def listed(message):
    parsed = parse_message(message.body)
    made = taken_apart(message, parsed, with_body=False)
    return Listed(Entry(message.id, made.record), made.text)


def test_what_is_remembered_of_all_entries_is_bounded():
    message = worst(ADDRESSES["names"])
    summary, summaries = listed(message), Summaries()
    usual = listed(Message("0", 0.0, message.envelope, whole()))
    for name in range(1000):
        summaries.add(usual._replace(entry=usual.entry._replace(id=f"usual {name}")))
    assert summaries.get("usual 0")
    for name in range(1000):
        summaries.add(summary._replace(entry=summary.entry._replace(id=str(name))))
    assert MAX_OCTETS / 2 < summaries.octets <= MAX_OCTETS
    assert summaries.get("usual 0") is None
    assert summaries.get("0") is None
    assert summaries.get("999")


def test_a_list_shows_the_first_addresses_and_a_message_all():
    named = [f"u{n}@x.test" for n in range(2000)]
    recipients = tuple(Recipient(box) for box in ("u0@x.test", "u1999@x.test", "hidden@x.test"))
    body = f"To: {', '.join(named)}\r\n\r\n".encode()
    message, parsed = Message("1", 0.0, Envelope("", recipients), body), parse_message(body)
    listed = json.loads(taken_apart(message, parsed).record)
    shown = detail(message, parsed)
    assert [one["Address"] for one in listed["To"]] == named[:200]
    assert [one["Address"] for one in shown["To"]] == named
    for record in (listed, shown):
        assert [one["Address"] for one in record["Bcc"]] == ["hidden@x.test"]


def test_the_end_of_a_named_address_is_another_recipient():
    body = f"To: {', '.join(f'u{n}@x.test' for n in range(2000))}\r\n\r\n".encode()
    message = Message("1", 0.0, Envelope("", (Recipient("1999@x.test"),)), body)
    listed = json.loads(taken_apart(message, parse_message(body)).record)
    assert [one["Address"] for one in listed["Bcc"]] == ["1999@x.test"]


def test_header_fields_keep_order_and_repeats():
    fields = header_fields(b"A: 1\r\nB: 2\r\n folded\r\nA: 3\r\n\r\nC: no\r\n")
    assert fields == [("A", "1"), ("B", "2 folded"), ("A", "3")]


def test_header_in_plain_utf8_is_read():
    parsed = parse_message("Subject: grün\r\nFrom: Jürgen <jü@bücher.example>\r\n\r\n".encode())
    assert parsed.header.text("Subject") == "grün"
    assert list(parsed.addresses("From")) == [("Jürgen", "jü@bücher.example")]


def test_blanks_stay_and_folds_are_undone():
    header = parse_message(b"Subject: a\r\n b  c\r\n\td\r\n\r\n").header
    assert header.text("Subject") == "a b  c d"
