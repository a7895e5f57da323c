"""Address lists as people and programs write them (F1, F2, F14, F20)."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prixfixe.mail.addresses import read_addresses

LISTS = {
    # plain, and RFC 5322's own forms
    "a@x.test": [("", "a@x.test")],
    "Bob <b@x.test>, a@x.test": [("Bob", "b@x.test"), ("", "a@x.test")],
    '"Doe, Jane" <j@x.test>': [("Doe, Jane", "j@x.test")],
    r'"Joe \"the\" Q" <j@x.test>': [('Joe "the" Q', "j@x.test")],
    "John Q. Public <j@x.test>": [("John Q. Public", "j@x.test")],
    '"a b"@x.test': [("", '"a b"@x.test')],
    "a@[192.0.2.1], b@[IPv6:::1]": [("", "a@[192.0.2.1]"), ("", "b@[IPv6:::1]")],
    '"x"<a@b.test>': [("x", "a@b.test")],
    # groups
    "undisclosed-recipients:;": [],
    "Friends: a@b.test, C <c@d.test>;, e@f.test": [
        ("", "a@b.test"),
        ("C", "c@d.test"),
        ("", "e@f.test"),
    ],
    # obsolete
    "bob @ example . org": [("", "bob@example.org")],
    "<@r1.test,@r2.test:a@b.test>, c@d.test": [("", "a@b.test"), ("", "c@d.test")],
    "bob@x.test (Bob Smith)": [("Bob Smith", "bob@x.test")],
    "Bob (x (nested) y) <b@x.test>": [("Bob", "b@x.test")],
    ",a@x.test,, b@x.test": [("", "a@x.test"), ("", "b@x.test")],
    # separators at the end, and the other one
    "a@x.test, b@x.test,": [("", "a@x.test"), ("", "b@x.test")],
    "a@x.test; b@x.test": [("", "a@x.test"), ("", "b@x.test")],
    "a@x.test; b@x.test;": [("", "a@x.test"), ("", "b@x.test")],
    # encoded words
    "=?utf-8?Q?M=C3=BCller,_J=C3=B6rg?= <a@x.test>": [("Müller, Jörg", "a@x.test")],
    "=?utf-8?Q?Bot_<x@y>:_z?= <b@x.test>": [("Bot <x@y>: z", "b@x.test")],
    '"=?utf-8?Q?M=C3=BCller?=" <a@x.test>': [("Müller", "a@x.test")],
    "=?utf-8?Q?J=C3?= =?utf-8?Q?=B6rg?= <a@x.test>": [("Jörg", "a@x.test")],
    "=?nowhere?Q?J?= <a@x.test>, b@x.test": [("=?nowhere?Q?J?=", "a@x.test"), ("", "b@x.test")],
    "=?utf-8?Q?a=40b.test?=": [("a@b.test", "")],
    # internationalised (RFC 6532)
    "Jürgen <jü@bücher.example>": [("Jürgen", "jü@bücher.example")],
    # careless
    '"Sales Team <sales@x.test>': [("Sales Team", "sales@x.test")],
    '"A <a@x.test>, "B" <b@x.test>': [("A", "a@x.test"), ("B", "b@x.test")],
    "Smith, John <a@x.test>": [("Smith, John", "a@x.test")],
    "Smith, John <a@x.test>, Doe, Jane <j@x.test>": [
        ("Smith, John", "a@x.test"),
        ("Doe, Jane", "j@x.test"),
    ],
    "Bob <b@x.test": [("Bob", "b@x.test")],
    "A <a@x.test, B <b@x.test>": [("A", "a@x.test"), ("B", "b@x.test")],
    "Sales Team sales@x.test": [("Sales Team", "sales@x.test")],
    '"Last,First" a@x.test': [("Last,First", "a@x.test")],
    "a@x.test b@x.test": [("", "a@x.test"), ("", "b@x.test")],
    "mailto:bob@x.test": [("", "bob@x.test")],
    "a..b@docomo.test, .c@x.test, d@x.test.": [
        ("", "a..b@docomo.test"),
        ("", ".c@x.test"),
        ("", "d@x.test."),
    ],
    "=?utf-8?q?Bob?=<b@x.test>": [("Bob", "b@x.test")],
    "o=hub/ou=x@y.test": [("", "o=hub/ou=x@y.test")],
    "<root>": [("", "root")],
    # not to be read: kept as text
    "Just A Name": [("Just A Name", "")],
    "Just A Name, b@x.test": [("Just A Name", ""), ("", "b@x.test")],
    "a@b@c, d@x.test": [("a@b@c", ""), ("", "d@x.test")],
    "@x.test": [("@x.test", "")],
    "Bob <>": [("Bob", "")],
    "((((": [("((((", "")],
    "<>": [],
    "": [],
    " , ": [],
}


@pytest.mark.parametrize(("text", "found"), LISTS.items(), ids=LISTS)
def test_a_list_is_read(text, found):
    assert list(read_addresses(text)) == found


@pytest.mark.parametrize(("text", "found"), LISTS.items(), ids=LISTS)
def test_what_follows_a_list_is_read_too(text, found):
    if text in {"((((", '"Sales Team <sales@x.test>', "Friends: a@b.test"}:
        return  # What is not closed takes what follows along.
    *others, last = list(read_addresses(f"{text}, Last <last@x.test>"))
    assert last.address == "last@x.test"
    assert last.name in {"Last", "Just A Name, Last", "a@b.test, Last"} or not found


LOCAL = st.text("abcz09!#$%&'*+/?^_`{|}~-", min_size=1, max_size=9)
MAILBOX = st.builds("{}.{}@{}.test".format, LOCAL, LOCAL, st.sampled_from(["x", "y-z", "bücher"]))
NAME = st.text(st.sampled_from("aB ,.;:<>()@\"\\'äß日\u0301=?"), max_size=12).filter(
    lambda name: "=?" not in name and name.strip() == name
)


def quoted(name):
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(
    st.lists(st.tuples(NAME, MAILBOX), min_size=1, max_size=8), st.sampled_from([",", ", ", ";"])
)
@example([('"', "a.b@x.test"), ('"a', "a.b@x.test")], ",")
def test_what_is_written_right_is_read_back(people, separator):
    text = separator.join(f"{quoted(name)} <{box}>" for name, box in people)
    assert list(read_addresses(text)) == people


@given(st.text(max_size=200) | st.text('<>@,;:"()\\[].= ?aqäé', max_size=60))
def test_no_text_raises_or_is_dropped(text):
    found = list(read_addresses(text))
    assert all(one.name or one.address for one in found)
    assert sum(len(name) + len(box) for name, box in found) <= 2 * len(text) + 10


@given(st.lists(MAILBOX, min_size=1, max_size=5), st.text("ab <>,;", max_size=9))
def test_no_mailbox_is_lost_behind_carelessness(boxes, junk):
    text = f"{junk}, " + ", ".join(f"<{box}>" for box in boxes)
    found = [one.address for one in read_addresses(text)]
    assert found[-len(boxes) :] == boxes


UNITS = [*'("<\\[@,;:', "a,", "<@,", "<a@b,", "=?a?q?", "=?utf-8?q?a,b?=,", "(a)", '"a" ', "a@b, "]


@pytest.mark.parametrize("unit", UNITS)
def test_time_is_linear(unit):
    def seconds(characters):
        text = (unit * characters)[:characters]
        start = time.thread_time()
        assert len(list(read_addresses(text))) <= characters
        return time.thread_time() - start

    # The best of three: the collector of cycles may run within one. 64 times if it were the square.
    least = min(seconds(8_000) for _ in range(3))
    assert min(seconds(64_000) for _ in range(3)) < 40 * max(least, 0.0025)
