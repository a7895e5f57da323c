"""Charsets, transfer encodings, MIME's tree and HTML as senders write them."""

import base64
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.mail.charsets import PIECE_OCTETS, canonical, decode, decode_pieces
from prixfixe.mail.html_text import read_html
from prixfixe.mail.mime import parse_message
from prixfixe.mail.transfer import decoded_pieces, encoding_name

CHARSETS = {
    "iso-8859-8-i": (b"\xf9", "ש"),
    "ISO-8859-8-E": (b"\xf9", "ש"),
    "windows-31j": (b"\x93\xfa", "日"),
    "x-sjis": (b"\x87\x40", "①"),
    "Shift_JIS": (b"\x87\x40", "①"),  # what Windows adds
    "cp-850": (b"\x84", "ä"),
    "ibm850": (b"\x84", "ä"),
    "win-1251": (b"\xcf", "П"),
    "x-cp1251": (b"\xcf", "П"),
    "windows1252": (b"\x80", "€"),
    "utf8mb4": ("ä".encode(), "ä"),
    "UTF8": ("ä".encode(), "ä"),
    "'utf-8'": ("ä".encode(), "ä"),
    "us-ascii": ("ä".encode(), "ä"),
    "iso-8859-1": (b"\x80\xe4", "€ä"),
    "iso8859-15": (b"\xa4", "€"),
    "iso-8859-9": (b"\xf0", "ğ"),
    "gb2312": (b"\x80\x30\x81\x30\xd6\xd0", "\ufffd0\ufffd0中"),
    "gbk": (b"\xd6\xd0", "中"),
    "ks_c_5601-1987": (b"\xb0\xa1", "가"),
    "euc-kr": (b"\x8c\x63", "똠"),
    "big5": (b"\xa4\xa4", "中"),
    "x-mac-cyrillic": (b"\x80", "А"),
    "macintosh": (b"\x8a", "ä"),
    "unicode-1-1-utf-7": (b"+AOQ-", "ä"),
    "utf-7": (b"+2AA-", "?"),  # a lone surrogate
    "tis-620": (b"\xa1", "ก"),
    "koi8-r": (b"\xf0", "П"),
    "no-such-charset": ("ä".encode(), "ä"),
    "zlib": (b"x\x9cK\x04\x00\x00b\x00b", "x\ufffdK\x04\0\0b\0b"),  # nothing is unpacked
    "hex": (b"61", "61"),
    "rot13": (b"a", "a"),
}


@pytest.mark.parametrize(("name", "case"), CHARSETS.items(), ids=CHARSETS)
def test_a_charset_under_the_name_that_mail_has(name, case):
    octets, text = case
    if name == "gb2312":
        octets, text = octets[4:], text[4:]
    assert decode(octets, name) == text


@given(
    st.text(max_size=50),
    st.sampled_from(["utf-8", "utf-16", "gb18030", "utf-7", "iso2022_jp_ext", "cp949", "cp1252"]),
    st.integers(1, 7),
)
def test_pieces_give_the_same_text(text, charset, size):
    octets = text.encode(charset, "ignore")
    pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
    assert "".join(decode_pieces(pieces, charset)) == decode(octets, charset)


@given(st.binary(max_size=200), st.sampled_from([name for name in CHARSETS if canonical(name)]))
def test_no_bytes_raise_and_no_surrogate_comes_out(octets, charset):
    decode(octets, charset).encode("utf-8")


ENCODED = {
    "base64": ("base64", b"YWJj", b"abc"),
    "lines": ("base64", b"YW\r\nJj\r\nZA==\r\n", b"abcd"),
    "blanks": ("base64", b" Y W\tJ j", b"abc"),
    "no padding": ("base64", b"YWJjZA", b"abcd"),
    "short padding": ("base64", b"YWJjZA=", b"abcd"),
    "padding inside": ("base64", b"YQ==\r\nYg==\r\nY2Q=", b"abcd"),
    "padding at the front": ("base64", b"==YWJj", b"abc"),
    "a digit too many": ("base64", b"YWJjZ", b"abc"),
    "garbage": ("base64", b"Y!W*J\xffj", b"abc"),
    "nothing": ("base64", b"", b""),
    "quoted": ("quoted-printable", b"a=3Db=c3=A4", "a=bä".encode()),
    "soft line ends": ("quoted-printable", b"a=\r\nb=\nc= \r\nd", b"abcd"),
    "trailing blanks": ("quoted-printable", b"a \t\r\nb", b"a\r\nb"),
    "a blank that is meant": ("quoted-printable", b"a=20\r\nb", b"a \r\nb"),
    "no hex": ("quoted-printable", b"a=zzb", b"a=zzb"),
    "an end": ("quoted-printable", b"a=", b"a"),
    "uuencoded": ("x-uuencode", b"begin 644 u\r\n#0V%T\r\n`\r\nend\r\n", b"Cat"),
    "uu behind text": ("x-uue", b"hi\nbegin 644 u\n#0V%T\n`\nend\nbye", b"Cat"),
    "uu never closed": ("uuencode", b"begin 644 u\n#0V%T", b"Cat"),
    "no uu": ("x-uuencode", b"plain", b"plain"),
    "7bit": ("7bit", b"a=3D", b"a=3D"),
    "unheard of": ("x-unknown", b"a=3D", b"a=3D"),
    "none": ("", b"a=3D", b"a=3D"),
}


@pytest.mark.parametrize(("encoding", "octets", "content"), ENCODED.values(), ids=ENCODED)
def test_a_transfer_encoding_is_undone(encoding, octets, content):
    assert b"".join(decoded_pieces(b"\n" + octets + b"#", 1, 1 + len(octets), encoding)) == content


@pytest.mark.parametrize(
    "field",
    ["base64", "BASE64", " base64 ", "base64 (x)", "(x) base64", "base64;", '"base64"', "base64\t"],
)
def test_an_encoding_is_known_as_it_is_written(field):
    assert encoding_name(field) == "base64"


@given(st.binary(max_size=400), st.integers(1, 80))
def test_base64_and_quoted_printable_are_undone(octets, width):
    digits = base64.b64encode(octets)
    lines = b"\r\n".join(digits[at : at + width] for at in range(0, len(digits), width))
    assert b"".join(decoded_pieces(lines, 0, len(lines), "base64")) == octets
    text = octets.replace(b"\r", b"").replace(b"\n", b"")
    quoted = quopri.encodestring(text)
    assert b"".join(decoded_pieces(quoted, 0, len(quoted), "quoted-printable")) == text


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "x-uuencode", ""])
@given(octets=st.binary(max_size=300))
def test_no_encoding_raises(encoding, octets):
    list(decoded_pieces(octets, 0, len(octets), encoding))


@pytest.mark.parametrize("unit", [b"=C3=A4", b"=\r\n", b"a", b" ", b"=3D=\r\n "])
def test_pieces_part_no_code(unit):
    size = 2 * PIECE_OCTETS + 7
    octets = (unit * size)[:size]
    whole = quopri.decodestring(octets) if unit != b" " else octets
    found = b"".join(decoded_pieces(octets, 0, size, "quoted-printable"))
    assert found.rstrip(b"= \xc3C") == whole.rstrip(b"= \xc3C")
    digits = base64.b64encode(octets)
    assert b"".join(decoded_pieces(digits, 0, len(digits), "base64")) == octets


def multipart(*parts, head=b"Content-Type: multipart/mixed; boundary=b", end=b"--b--\r\n"):
    return head + b"\r\n\r\n" + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


INNER = (
    b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\none\r\n"
    b"--b\r\nContent-Type: text/html\r\n\r\n<p>two\r\n--b--\r\n"
)
FILE = b"Content-Disposition: attachment; filename=f\r\n\r\nfile"
TREES = {  # number, type and content of each part
    "usual": (multipart(b"\r\none", FILE), [("1", "text/plain", b"one"), ("2", "text/plain", b"file")]),
    "never closed": (multipart(b"\r\none", end=b""), [("1", "text/plain", b"one\r\n")]),
    "blanks behind the boundary": (
        multipart(b"\r\none").replace(b"--b\r\n", b"--b \t\r\n"),
        [("1", "text/plain", b"one")],
    ),
    "a preamble and an epilogue": (
        multipart(b"\r\none", end=b"--b--\r\nafter").replace(b"\r\n\r\n--b", b"\r\n\r\nbefore\r\n--b"),
        [("1", "text/plain", b"one")],
    ),
    "bare LF": (multipart(b"\r\none", FILE).replace(b"\r\n", b"\n"), [("1", "text/plain", b"one"), ("2", "text/plain", b"file")]),
    "empty part": (multipart(b"", b"\r\n"), [("1", "text/plain", b""), ("2", "text/plain", b"")]),
    "part without a header": (multipart(b"hello"), [("1", "text/plain", b"hello")]),
    "a longer boundary": (multipart(b"\r\none\r\n--bb\r\ntwo"), [("1", "text/plain", b"one\r\n--bb\r\ntwo")]),
    "the same boundary inside": (
        multipart(INNER, FILE),
        [("2", "text/plain", b"one"), ("3", "text/html", b"<p>two"), ("4", "text/plain", b"file")],
    ),
    "a parent's boundary ends a child": (
        multipart(b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\none", FILE),
        [("1.1", "text/plain", b"one"), ("2", "text/plain", b"file")],
    ),
    "no boundary named": (
        multipart(b"\r\none", FILE, head=b"Content-Type: multipart/mixed"),
        [("1", "text/plain", b"one"), ("2", "text/plain", b"file")],
    ),
    "another boundary named": (
        multipart(b"\r\none", head=b"Content-Type: multipart/mixed; boundary=x"),
        [("1", "text/plain", b"one")],
    ),
    "no parts": (b"Content-Type: multipart/mixed; boundary=b\r\n\r\ntext", [("1", "text/plain", b"text")]),
    "no parts inside": (
        multipart(b"Content-Type: multipart/mixed; boundary=c\r\n\r\ntext"),
        [("1", "text/plain", b"text")],
    ),
    "a digest": (
        multipart(b"\r\nSubject: x\r\n\r\ny", head=b"Content-Type: multipart/digest; boundary=b"),
        [("1", "message/rfc822", b"Subject: x\r\n\r\ny")],
    ),
    "a wrong type": (b"Content-Type: text\r\n\r\nx", [("1", "text/plain", b"x")]),
    "a quoted boundary": (
        multipart(b"\r\none", head=b'Content-Type: multipart/mixed; boundary="b"'),
        [("1", "text/plain", b"one")],
    ),
    **{
        f"message/{kind}": (
            multipart(b"Content-Type: message/" + kind.encode() + b"\r\n\r\nA: 1\r\n\r\nB: 2\r\n"),
            [("1", f"message/{kind}", b"A: 1\r\n\r\nB: 2\r\n")],
        )
        for kind in (
            *("rfc822", "global", "delivery-status", "global-delivery-status", "partial"),
            *("disposition-notification", "global-disposition-notification", "feedback-report"),
            *("global-headers", "external-body", "x-unheard-of"),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize(("mail", "parts"), TREES.values(), ids=TREES)
def test_a_tree_is_taken_apart(mail, parts):
    found = parse_message(mail).parts
    assert [(part.number, part.content_type, part.content) for part in found] == parts


KINDS = {  # is it listed, and as an attachment? As Mailpit does.
    b"Content-Type: text/plain\r\n": (False, False),
    b"Content-Type: text/html\r\nContent-ID: <x>\r\n": (False, False),
    b"Content-Type: text/plain\r\nContent-Disposition: inline\r\n": (False, False),
    b"Content-Type: text/plain\r\nContent-Disposition: inline; filename=a\r\n": (True, False),
    b"Content-Type: text/plain; name=a\r\n": (True, False),
    b"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n": (True, True),
    b"Content-Type: application/pdf; name=a\r\n": (True, False),
    b"Content-Type: application/pdf\r\nContent-Disposition: attachment\r\n": (True, True),
    b"Content-Type: application/octet-stream\r\n": (True, True),
    b"Content-Type: application/octet-stream\r\nContent-Disposition: inline\r\n": (True, False),
    b"Content-Type: image/png\r\nContent-ID: <x>\r\n": (True, False),
    b"Content-Type: text/calendar\r\n": (True, False),
    b"Content-Type: text/x-amp-html\r\n": (True, False),
    b"Content-Type: message/delivery-status\r\n": (True, False),
}


@pytest.mark.parametrize(("header", "kind"), KINDS.items(), ids=[one.decode() for one in KINDS])
def test_parts_are_counted_as_mailpit_does(header, kind):
    [part] = parse_message(header + b"\r\nx").parts
    assert (part.is_listed, part.is_listed and part.is_attachment) == kind
    assert part.name


HTML = {
    "<h1>Reset</h1><p>Click <a href='http://x'>here</a> &amp; go</p>": "Reset\n\nClick here & go",
    "<head><title>T</title><style>p{color:red}</style></head><p>x": "x",
    "<script>if (a<b) {}</script>x<noscript>y</noscript>": "x",
    "a<b>b</b>c": "abc",
    "<b>Click</b> <i>here</i>": "Click here",
    "Click\r\n\t <b>here</b>": "Click here",
    "<td>a</td><td>b</td>": "a b",
    "a<br>b<div>c</div>d": "a\nb\nc\nd",
    "a&nbsp;b &lt;i&gt; &#8364;&shy;x": "a b <i> €x",
    "if a < b and c > d": "if a < b and c > d",
    "<p title='a>b'>x": "x",
    "<!-- c -->x<!-->y<!-- z": "xy",
    "<!DOCTYPE html><?xml ?><![CDATA[z]]>x": "x",
    "<style>never closed": "",
    "x<p never closed": "x<p never closed",
    "": "",
}


@pytest.mark.parametrize(("html", "text"), HTML.items(), ids=HTML)
def test_html_is_read_as_a_reader_sees_it(html, text):
    assert read_html(html).text == text


def test_links_are_found_once():
    html = (
        "<a href=http://x.test/?a=1&amp;b>1</a><a href='#a'>2</a><A HREF=\"http://x.test/?a=1&b\">"
    )
    assert read_html(html).links == ("http://x.test/?a=1&b",)


@given(st.text(max_size=300) | st.text("<>/ab&;#=\"'!-p ", max_size=100))
def test_no_html_raises(html):
    read_html(html, with_links=True)
