"""What a sender writes must not decide how long a reader works."""

import encodings

import pytest

from prixfixe.http.api.mailpit import detail
from prixfixe.mail import parameters
from prixfixe.mail.charsets import canonical
from prixfixe.mail.message import Envelope, Message
from prixfixe.mail.mime import parse_message
from prixfixe.mail.mime_limits import MAX_PARAMETERS, MAX_STRUCTURED_CHARACTERS
from prixfixe.mail.summary import search_text, summarise


def multipart(header, count, content=b"x"):
    part = b"--b\r\n" + header + b"\r\n\r\n" + content + b"\r\n"
    head = b"Subject: kept\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    return head + part * count + b"--b--\r\n"


def nested(depth, boundary=b"boundary=%d"):
    one = b"Content-Type: multipart/mixed; " + boundary + b"\r\n\r\n--%d\r\n"
    return b"".join(one % (n, n) for n in range(depth))


def read(body):
    """Do all that the paths of HTTP do with a message."""
    parsed = parse_message(body)
    message = Message("1", 0.0, Envelope("a@b.test", ()), body)
    summarise(message, parsed)
    search_text(message, parsed)
    detail(message, parsed)
    return parsed


LONG_FIELDS = {
    "quoted": b'Content-Type: text/plain; x="' + b";" * 60_000,
    "pairs": b"Content-Type: text/plain" + b"; a=b" * 12_000,
    "disposition": b'Content-Disposition: attachment; x="' + b";" * 60_000,
    "continued": b"Content-Disposition: attachment"
    + b"".join(b"; filename*%d*=%%41" % n for n in range(3000)),
    "folded": b'Content-Type: text/plain; x="' + b";" * 60 + b"\r\n ;" * 15_000,
    "long": b"Content-Type: text/plain; x=" + b"y" * 60_000,
}
PLACES = {
    "root": lambda field: field + b"\r\n\r\nx",
    "parts": lambda field: multipart(field, 3),
    "message": lambda field: b"Content-Type: message/rfc822\r\n\r\n" + field + b"\r\n\r\nx",
    "part of a message": lambda field: multipart(
        b"Content-Type: message/rfc822\r\n\r\n" + field, 2
    ),
    "endless header": lambda field: b"X: y\r\n" * 60_000 + field + b"\r\n\r\nx",
    "first of an endless header": lambda field: field + b"\r\n" + b"X: y\r\n" * 60_000,
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("field", LONG_FIELDS.values(), ids=LONG_FIELDS)
def test_few_parameters_are_looked_at(monkeypatch, field, place):
    """One field of 60 KiB once took seconds."""
    taken, make = [], parameters._piece

    def spy(*found):
        taken[-1] += 1
        return make(*found)

    def read_field(value, read=parameters.read_structured):
        taken.append(0)
        return read(value)

    monkeypatch.setattr(parameters, "_piece", spy)
    monkeypatch.setattr("prixfixe.mail.mime.read_structured", read_field)
    parsed = read(place(field))
    assert max(taken) <= MAX_PARAMETERS
    assert all(len(part.content_type) <= MAX_STRUCTURED_CHARACTERS for part in parsed.parts)


HEAD = b"Subject: kept\r\n"
DEAR = {
    "parts": multipart(b"", 1100),
    "depth": HEAD + nested(300),
    "depth times size": HEAD + nested(190) + b"-\r\n" * 2_000_000,
    "lines like a boundary": multipart(b"", 2, b"--bx\r\n" * 250_000),
    "fields": multipart(b"X: y\r\n" * 3000, 10),
}
CHEAP = {
    "messages in messages": HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 5000,
    "copies": HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 100 + b"x" * 4_000_000,
    "empty reports": HEAD + b"Content-Type: message/delivery-status\r\n\r\n" + b"\r\n" * 5000,
}


@pytest.mark.parametrize("body", DEAR.values(), ids=DEAR)
def test_mail_that_costs_too_much_is_one_part(body):
    parsed = read(body)
    assert [part.number for part in parsed.parts] == ["1"]
    assert parsed.header.text("Subject") == "kept"
    assert parsed.is_body_cut


@pytest.mark.parametrize("body", CHEAP.values(), ids=CHEAP)
def test_what_is_one_part_anyway_costs_nothing(body):
    parsed = read(body)
    assert [part.number for part in parsed.parts] == ["1"]
    assert not parsed.is_body_cut


HONEST = {
    "parts": (multipart(b"", 900), 900),
    "large": (multipart(b"", 3, (b"x" * 76 + b"\r\n") * 45_000), 3),
    "depth": (HEAD + nested(12) + b"\r\n" + b"x\r\n" * 100_000, 1),
    "a patch": (multipart(b"", 2, b"--- a\r\n--- b\r\n-- \r\n" * 3000), 2),
    "the word": (multipart(b"", 2, b"boundary=x\r\n" * 1000), 2),
}


@pytest.mark.parametrize(("body", "count"), HONEST.values(), ids=HONEST)
def test_mail_that_costs_little_is_taken_apart(body, count):
    parsed = read(body)
    assert len(parsed.parts) == count
    assert count == 1 or parsed.parts[-1].number == str(count)
    assert count > 1 or len(parsed.parts[0].content) == 300_000


def test_no_name_that_mail_chose_reaches_the_registry_of_codecs():
    """It looks for a file and remembers every name for good."""
    known = set(encodings._cache)
    read(
        b"Subject: =?x-mine1?q?a?= =?utf!!8?q?a?=\r\nFrom: =?x-mine2?q?a?= <a@b.test>\r\n"
        b"Content-Type: multipart/mixed; boundary*=x-mine3''b; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/plain; charset=x-mine4\r\n\r\nx\r\n"
        b"--b\r\nContent-Type: text/plain; charset*=x-mine5''utf-8\r\n\r\nx\r\n"
        b"--b\r\nContent-Disposition: attachment; filename*=x-mine6''a\r\n\r\nx\r\n"
        b"--b\r\nContent-Disposition: attachment; filename*0*=x-mi; filename*1*=ne7''a\r\n\r\nx\r\n"
        b"--b\r\nContent-Type: text/plain; charset=utf@@@@8\r\n\r\nx\r\n--b--\r\n"
    )
    assert {name for name in encodings._cache if name not in known and "mine" in name} == set()
    assert {name for name in encodings._cache if "!" in name or "@" in name} == set()


@pytest.mark.parametrize(
    "name",
    [
        *("UTF-8", "us-ascii", "ISO-8859-1", "iso-8859-15", "windows-1252", "koi8-u", "GB2312"),
        *("gb18030", "big5", "euc-kr", "ks_c_5601-1987", "iso-2022-jp", "Shift_JIS", "utf-7"),
        *("macintosh", "tis-620", "ANSI_X3.4-1968", "iso_8859-1:1987", "utf-16le"),
    ],
)
def test_charsets_in_use_are_known(name):
    known = canonical(name)
    assert known is not None
    assert b"a\0".decode(known)[:1] in ("a", "\u6100")


@pytest.mark.parametrize(
    "name",
    ["idna", "punycode", "PunyCode", "unicode_escape", "raw-unicode-escape", "undefined", "x" * 99],
)
def test_slow_and_foreign_charsets_are_not(name):
    assert canonical(name) is None
    header = parse_message(b"Subject: =?%b?q?a?=\r\n\r\n" % name.encode()).header
    assert header.text("Subject") == f"=?{name}?q?a?="


def test_a_file_name_in_pieces_and_charsets():
    body = (
        b"Content-Disposition: attachment; filename*0*=iso-8859-1''%E4; filename*1=b.txt\r\n"
        b"Content-Type: application/x; name=other\r\n\r\nx"
    )
    assert parse_message(body).parts[0].file_name == "äb.txt"
    body = b"Content-Type: application/x; name*=utf-8''%C3%A4\r\n\r\nx"
    assert parse_message(body).parts[0].file_name == "ä"
