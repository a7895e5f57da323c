"""Links and codes of a mail."""

import pytest

from prixfixe.mail.extract import MAX_CANDIDATES, find_codes, find_links


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("Go to https://x.test/reset?t=1.", ["https://x.test/reset?t=1"]),
        (
            "(https://x.test/a_(b)), <https://x.test/c>",
            ["https://x.test/a_(b)", "https://x.test/c"],
        ),
        ("https://x.test/tok_ https://x.test/tok-", ["https://x.test/tok_", "https://x.test/tok-"]),
        ("HTTPS://X.test/a HTTPS://X.test/a", ["HTTPS://X.test/a"]),
        ("“https://x.test/q” ‘https://x.test/r’", ["https://x.test/q", "https://x.test/r"]),
        ("https://x.test/a&amp;b", ["https://x.test/a&amp;b"]),  # a text has no entities
        ("ftp://x.test www.x.test mailto:a@x.test", []),
        ("https://[::1]:8025/x]", ["https://[::1]:8025/x"]),
        ("https://...", ["https://"]),
        ("", []),
    ],
)
def test_links_of_a_text(text, links):
    assert [one for one in find_links(text) if one != "https://"] == [
        one for one in links if one != "https://"
    ]


@pytest.mark.parametrize(
    ("html", "links"),
    [
        ('<a href="https://x.test/?a=1&amp;b=2">x</a>', ["https://x.test/?a=1&b=2"]),
        (
            "<A HREF='https://x.test/1'>x</A><a href=https://x.test/2>",
            ["https://x.test/1", "https://x.test/2"],
        ),
        ('<a href=" https://x.test/&#x2f;a ">', ["https://x.test//a"]),
        ('<area href="https://x.test/map">', ["https://x.test/map"]),
        ('<a href="myapp://reset/1">', ["myapp://reset/1"]),
        ('<a href="mailto:a@x"><a href="javascript:x()"><a href="#top"><a href="/p"><a>', []),
        ('<a href="JavaScript:x()"><a href="data:text/html,x"><a href="tel:1">', []),
        ("<p>See https://x.test/w, please</p>", ["https://x.test/w"]),
        ('<!-- <a href="https://x.test/c"> --><script>"https://x.test/s"</script>', []),
        ('<img src="https://x.test/pixel">', []),
    ],
)
def test_links_of_html(html, links):
    assert find_links("", html) == links


def test_links_of_html_come_first_and_each_once():
    html = '<a href="https://x.test/2">2</a>'
    assert find_links("https://x.test/1 https://x.test/2", html) == [
        "https://x.test/2",
        "https://x.test/1",
    ]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("Your code is 123456.", ["123456"]),
        ("123456 is your code", ["123456"]),
        ("Your code:\n\n   123456   \n", ["123456"]),
        ("Code 123-456", ["123456"]),
        ("Code 12 34 56", ["123456"]),
        ("Code 1 2 3 4 5 6", ["123456"]),
        ("Code 1 2 3 4 5 6 7", []),
        ("Order 111111\nYour code: 222222", ["222222", "111111"]),
        ("Order 111111 of today\n333333\n", ["333333", "111111"]),
        ("Token A1B2C3", ["A1B2C3"]),
        ("A1B2C3", ["A1B2C3"]),
        ("flight A1B2C3 to Rome", []),
        ("code ABCDEF", []),
        ("1234567 12345 v123456 123456x", []),
        ("123456.00 1.123456 123456-7 7-123456", []),
        ("https://x.test/123456 code", []),
        ("https://x.test/?code=123456", []),
        ("shipping 123456 soon", ["123456"]),
        ("PIN 123456", ["123456"]),
        ("код 123456", ["123456"]),
        ("code １２３４５６", []),
    ],
)
def test_codes_of_a_text(text, codes):
    assert find_codes(text) == codes


@pytest.mark.parametrize(
    ("length", "text", "codes"),
    [
        (4, "code 4711", ["4711"]),
        (8, "code 1234 5678", ["12345678"]),
        (3, "code 123", ["123"]),
        (20, f"code {'1' * 20}", ["1" * 20]),
        (4, "code 123456", []),
    ],
)
def test_codes_of_a_length(length, text, codes):
    assert find_codes(text, length=length) == codes


def test_codes_of_subject_and_html():
    html = "<p>Your code</p><table><tr><td>6</td><td>5</td><td>4</td></tr></table><b>7&#49;7</b>"
    assert find_codes("", html, "code 987", length=3) == ["987", "654", "717"]
    assert find_codes("", '<style>.a{color:#123456}</style><a href="?code=123456">x</a>') == []


@pytest.mark.parametrize(
    "octets", ["1 ", "12", "https://", ")", "A", "<a href='", "1-", "https://a.test/)", "123456 "]
)
def test_any_text_is_taken(octets):
    text = octets * 20_000
    assert len(find_links(text, text)) <= MAX_CANDIDATES
    assert len(find_codes(text, text, text)) <= MAX_CANDIDATES


def test_links_are_bounded():
    long = "https://x.test/" + "é" * 8192
    assert find_links("", f'<a href="{long}">x</a><a href="https://x.test/">y</a>') == [
        "https://x.test/"
    ]
    many = " ".join(f"https://x.test/{number}{'é' * 8000}" for number in range(500))
    found = find_links(many)
    assert 100 < len(found) < 140
    assert sum(map(len, found)) <= 1024 * 1024
