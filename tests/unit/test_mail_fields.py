"""Headers, encoded words, parameters and file names as senders write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.mail.file_names import clean_file_name, content_disposition, made_up_name
from prixfixe.mail.header import read_header
from prixfixe.mail.mime import parse_message
from prixfixe.mail.mime_limits import MAX_HEADER_OCTETS
from prixfixe.mail.parameters import read_structured
from prixfixe.mail.unsubscribe import read_unsubscribe
from prixfixe.mail.words import decode_words

HEADERS = {  # the fields, and the body that follows
    "usual": (b"A: 1\r\nB: 2\r\n\r\nbody", [("A", "1"), ("B", "2")], b"body"),
    "folded": (b"A: 1\r\n 2\r\n\t3\r\n\r\nx", [("A", "1 2 3")], b"x"),
    "folded first": (b"A:\r\n 1\r\n\r\nx", [("A", "1")], b"x"),
    "doubled blanks": (b"A: 1  2\r\n\r\nx", [("A", "1  2")], b"x"),
    "a fold of blanks": (b"A: 1\r\n \r\n 2\r\n\r\nx", [("A", "1  2")], b"x"),
    "blank before the colon": (b"A : 1\r\nB\t: 2\r\n\r\nx", [("A", "1"), ("B", "2")], b"x"),
    "no blank behind it": (b"A:1\r\n\r\nx", [("A", "1")], b"x"),
    "empty": (b"A:\r\nB: \r\n\r\nx", [("A", ""), ("B", "")], b"x"),
    "bare LF": (b"A: 1\n 2\nB: 3\n\nx", [("A", "1 2"), ("B", "3")], b"x"),
    "mixed line ends": (b"A: 1\r\nB: 2\n\r\nx", [("A", "1"), ("B", "2")], b"x"),
    "a line that is no field": (
        b"A: 1\r\nno field\r\nB: 2\r\n\r\nx",
        [("A", "1"), ("B", "2")],
        b"x",
    ),
    "an mbox line": (b"From a@b Tue\r\nA: 1\r\n\r\nx", [("A", "1")], b"x"),
    "8-bit name": (b"A: 1\r\n\xc3\xa4: 2\r\nB: 3\r\n\r\nx", [("A", "1"), ("B", "3")], b"x"),
    "lines at the end": (b"A: 1\r\nhello\r\n\r\nx", [("A", "1")], b"hello\r\n\r\nx"),
    "no empty line": (b"A: 1\r\nhello\r\nworld", [("A", "1")], b"hello\r\nworld"),
    "fields alone": (b"A: 1\r\nB: 2", [("A", "1"), ("B", "2")], b""),
    "no field": (b"hello\r\n\r\nworld", [], b"hello\r\n\r\nworld"),
    "body alone": (b"\r\nA: 1\r\n", [], b"A: 1\r\n"),
    "nothing": (b"", [], b""),
    "UTF-8": ("A: ä\r\n\r\nx".encode(), [("A", "ä")], b"x"),
    "no UTF-8": (b"A: \xe4\r\n\r\nx", [("A", "\ufffd")], b"x"),
}


@pytest.mark.parametrize(("octets", "fields", "body"), HEADERS.values(), ids=HEADERS)
def test_a_header_is_read(octets, fields, body):
    header = read_header(octets)
    assert list(header.fields) == fields
    assert octets[header.end :] == body


def test_cr_alone_ends_lines_where_there_is_no_lf():
    parsed = parse_message(
        b"Subject: x\rContent-Type: multipart/mixed; boundary=b\r\r--b\r\rone\rtwo\r--b--\r"
    )
    assert parsed.header.text("Subject") == "x"
    assert [part.content for part in parsed.parts] == [b"one\rtwo"]


def test_a_header_beyond_its_bound_says_so_and_the_body_is_found():
    octets = b"A: 1\r\n" * (MAX_HEADER_OCTETS // 6 + 100) + b"\r\nbody"
    header = read_header(octets)
    assert header.is_cut
    assert octets[header.end :] == b"body"


WORDS = {
    "plain": "plain",
    "a  b": "a  b",
    "=?utf-8?q?a_b=3D?=": "a b=",
    "=?UTF-8?B?w6Q=?=": "ä",
    "=?utf-8?b?w6Q?=": "ä",  # no padding
    "=?utf-8?q?a?= =?utf-8?q?b?=": "ab",
    "=?utf-8?q?a?=   =?utf-8?b?Yg==?=": "ab",
    "=?utf-8?q?a?= b =?utf-8?q?c?=": "a b c",
    "x=?utf-8?q?=C3=A4?=y": "xäy",
    "=?utf-8?q?=C3?= =?utf-8?q?=A4?=": "ä",  # a character in two words
    "=?utf-8?b?w6Q=?= =?iso-8859-1?q?=E4?=": "ää",
    "=?utf-8*en?q?a?=": "a",  # RFC 2231 section 5
    "=?utf-8*de-AT?b?w6Q=?=": "ä",
    "=?nowhere?q?x?= =?utf-8?q?y?=": "=?nowhere?q?x?= y",
    "=?utf-8?x?x?= =?utf-8?q?y?=": "=?utf-8?x?x?= y",
    "=?utf-8?b?!!!?= =?utf-8?q?y?=": "=?utf-8?b?!!!?= y",
    "=?utf-8?q?not closed =?utf-8?q?y?=": "=?utf-8?q?not closed y",
    "=?utf-8?q?not closed": "=?utf-8?q?not closed",
    "=?utf-8?q??=": "",
    "=?utf-8?q?what?_now?=": "what? now",
    "=?utf-8?q?raw blanks here?=": "raw blanks here",
    "=?utf-8?q?=FF?=": "\ufffd",
    "=?iso-8859-1?q?=80?=": "€",  # what Windows means by it
    "=?us-ascii?q?=C3=A4?=": "ä",
    "=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=": "日本",
    "=?gb2312?b?1tDOxA==?=": "中文",
    "=?ks_c_5601-1987?b?x9GxuQ==?=": "한국",
    "=?windows-31j?b?k/o=?=": "日",
    "=?": "=?",
    "?=": "?=",
}


@pytest.mark.parametrize(("written", "text"), WORDS.items(), ids=WORDS)
def test_words_are_decoded_one_by_one(written, text):
    assert decode_words(written) == text


@given(st.text(max_size=60))
def test_what_is_encoded_is_decoded(text):
    octets = text.encode()
    word = "".join(f"={octet:02X}" for octet in octets)
    assert decode_words(f"=?utf-8?q?{word}?=") == text


@given(st.text(max_size=300) | st.text("=?utf-8qbB *aw6Q_", max_size=60))
def test_no_word_raises(text):
    text = text.encode("utf-8", "replace").decode()
    decode_words(text).encode()


STRUCTURED = {
    "text/plain": ("text/plain", {}),
    "Text/PLAIN; Charset=UTF-8": ("text/plain", {"charset": "UTF-8"}),
    'text/plain; charset="utf-8"; format=flowed': (
        "text/plain",
        {"charset": "utf-8", "format": "flowed"},
    ),
    "text/plain charset=utf-8": ("text/plain", {"charset": "utf-8"}),  # no semicolon
    'text/plain; charset="utf-8" name="a.txt"': (
        "text/plain",
        {"charset": "utf-8", "name": "a.txt"},
    ),
    "text/plain; charset = utf-8": ("text/plain", {"charset": "utf-8"}),
    "text/plain; charset=us-ascii (Plain text)": ("text/plain", {"charset": "us-ascii"}),
    "text/plain (x); charset=utf-8": ("text/plain", {"charset": "utf-8"}),
    "text/plain;;; charset=utf-8;": ("text/plain", {"charset": "utf-8"}),
    "text/plain; a=1; a=2": ("text/plain", {"a": "1"}),
    'attachment; filename="a;b=c.pdf"': ("attachment", {"filename": "a;b=c.pdf"}),
    'attachment; filename="a \\"b\\".pdf"': ("attachment", {"filename": 'a "b".pdf'}),
    'attachment; filename="C:\\dir\\a.pdf"': ("attachment", {"filename": "C:\\dir\\a.pdf"}),
    "attachment; filename=my file (1).pdf; size=3": (
        "attachment",
        {"filename": "my file (1).pdf", "size": "3"},
    ),
    'attachment; filename="not closed.pdf': ("attachment", {"filename": "not closed.pdf"}),
    'attachment; filename="=?utf-8?q?=C3=A4?=.pdf"': ("attachment", {"filename": "ä.pdf"}),
    'attachment; filename="ä.pdf"': ("attachment", {"filename": "ä.pdf"}),
    # RFC 2231
    "attachment; filename*=utf-8''%C3%A4.pdf": ("attachment", {"filename": "ä.pdf"}),
    "attachment; filename*=iso-8859-1'en'%E4.pdf": ("attachment", {"filename": "ä.pdf"}),
    "attachment; filename*=\"utf-8''%C3%A4.pdf\"": ("attachment", {"filename": "ä.pdf"}),
    "attachment; filename*=''a.pdf": ("attachment", {"filename": "a.pdf"}),
    "attachment; filename*=a%20b.pdf": ("attachment", {"filename": "a b.pdf"}),
    "attachment; filename*=nowhere''%C3%A4": ("attachment", {"filename": "ä"}),
    "attachment; filename*=utf-8''%ZZ%C3": ("attachment", {"filename": "%ZZ\ufffd"}),
    "attachment; filename=a.pdf; filename*=utf-8''b.pdf": ("attachment", {"filename": "b.pdf"}),
    "attachment; filename*=utf-8''b.pdf; filename=a.pdf": ("attachment", {"filename": "b.pdf"}),
    'attachment; filename*0="a"; filename*1="b.pdf"': ("attachment", {"filename": "ab.pdf"}),
    "attachment; filename*1=b.pdf; filename*0=a": ("attachment", {"filename": "ab.pdf"}),
    "attachment; filename*0=a; filename*2=c": ("attachment", {"filename": "a"}),  # a gap
    "attachment; filename*1=a; filename*2=b": ("attachment", {"filename": "ab"}),
    "attachment; filename*0*=utf-8''%C3; filename*1*=%A4; filename*2=%41": (
        "attachment",
        {"filename": "ä%41"},
    ),
    "attachment; filename*0=a.pdf; filename=b.pdf": ("attachment", {"filename": "a.pdf"}),
    "": ("", {}),
    ";": ("", {}),
    "/;;;=": ("/", {}),
}


@pytest.mark.parametrize(("written", "found"), STRUCTURED.items(), ids=STRUCTURED)
def test_values_with_parameters(written, found):
    assert read_structured(written) == found


@given(st.text(max_size=200) | st.text("a=;\"*0'%\\() ", max_size=80))
def test_no_value_raises(text):
    value, parameters = read_structured(text)
    assert all(parameters)


NAMES = {
    "a  b.pdf": "a  b.pdf",
    "../../etc/passwd": "passwd",
    "C:\\dir\\a.pdf": "a.pdf",
    "dir/": "",
    "..": "",
    ".": "",
    ".profile": ".profile",
    "a\x00\r\nb": "ab",
    "cod\u202egpj.exe": "codgpj.exe",
    " a ": "a",
    "x" * 300 + ".pdf": "x" * 251 + ".pdf",
    "x" * 300: "x" * 255,
}


@pytest.mark.parametrize(("written", "name"), NAMES.items(), ids=[repr(one)[:20] for one in NAMES])
def test_a_file_name_is_no_path_and_is_seen(written, name):
    assert clean_file_name(written) == name


@given(st.text(max_size=300))
def test_a_download_has_a_name_that_no_header_can_be_made_of(text):
    name = clean_file_name(text)
    header = content_disposition(name)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    assert len(name) <= 255
    assert "/" not in name
    if "filename*" in header:
        assert read_structured(header).parameters["filename"] == name


def test_downloads_are_named_as_rfc_6266_says():
    assert content_disposition("a b.pdf") == 'attachment; filename="a b.pdf"'
    assert content_disposition('ä".pdf') == (
        "attachment; filename=\"__.pdf\"; filename*=UTF-8''%C3%A4%22.pdf"
    )


def test_what_has_no_name_gets_one():
    assert made_up_name("1.2", "message/rfc822") == "part-1.2.eml"
    assert made_up_name("2", "application/x-unheard-of") == "part-2.bin"


LISTS = {
    "<https://x.test/u?a=1>": (["https://x.test/u?a=1"], ""),
    "<mailto:a@x.test>, <https://x.test/u>": (["mailto:a@x.test", "https://x.test/u"], ""),
    "(comment) <https://x.test>": (["https://x.test"], ""),
    "https://x.test": ([], "no link in < and > was found"),
    "<ftp://x.test>": ([], "expected http://, https:// or mailto:"),
    "<https://x.test> <mailto:a@x.test>": (
        ["https://x.test", "mailto:a@x.test"],
        "with commas",
    ),
    "<https://x.test>, <http://y.test>": (["https://x.test"], "expected one HTTP link"),
    "<https://x .test>": ([], "expected no blank"),
}


@pytest.mark.parametrize(("written", "found"), LISTS.items(), ids=LISTS)
def test_links_to_unsubscribe(written, found):
    octets = f"List-Unsubscribe: {written}\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    said = read_unsubscribe(read_header(octets.encode()))
    assert (said.Header, said.HeaderPost) == (written, "List-Unsubscribe=One-Click")
    assert said.Links == found[0]
    assert (found[1] in said.Errors) if found[1] else (said.Errors == "")


def test_mail_without_links_to_unsubscribe():
    assert read_unsubscribe(read_header(b"A: 1\r\n")) == ("", [], "", "")
