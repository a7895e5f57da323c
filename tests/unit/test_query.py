import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.mail.query import QueryError, Searchable, parse_query

TEXT = Searchable(
    to="bob b@y.test\nhidden@z.test",
    sender="alice a@x.test",
    cc="carol c@y.test",
    bcc="hidden@z.test",
    subject="the quick brown fox",
    message_id="unique-1@x.test",
    text="body words here",
)
HITS = [
    "to:b@y.test", "to:hidden@z.test", "TO:BOB", "from:alice", "cc:carol", "bcc:hidden",
    "subject:quick", 'subject:"quick brown"', '"brown fox"', "words", "message-id:<unique-1@x.test>",
    "!to:nobody", "-from:bob", "from:alice to:bob subject:fox", "http://x !words-not",
]  # fmt: skip
MISSES = [
    "to:nobody", "from:bob", "!to:bob", '"fox brown"', "from:alice to:nobody", "subject:body",
]  # fmt: skip


@pytest.mark.parametrize("query", [hit for hit in HITS if "http" not in hit])
def test_query_matches(query):
    assert parse_query(query).matches(TEXT)


@pytest.mark.parametrize(
    ("cut", "kept", "gone"),
    [
        (("subject",), ["-subject:keep", "-keep"], ["-to:keep", "subject:fox -to:keep"]),
        (("text",), ["-keep"], ["-subject:keep", "words"]),
        (("to", "cc"), ["-to:keep", "-cc:keep", "-keep"], ["-bcc:keep", "to:bob"]),
    ],
)
def test_a_negation_holds_where_all_was_looked_at(cut, kept, gone):
    text = TEXT._replace(cut=cut)
    assert [query for query in kept + gone if parse_query(query).matches(text)] == gone


@pytest.mark.parametrize("query", MISSES)
def test_query_does_not_match(query):
    assert not parse_query(query).matches(TEXT)


def test_text_with_a_colon_is_a_word():
    assert parse_query("http://x.test").terms[0] == ("", "http://x.test", False)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ('!"tag:keep"', "tag:keep"),
        ('"to:"', "to:"),
        ("-http://x", "http://x"),
        ('re:"a b"', "re:a b"),
    ],
)
def test_a_quoted_word_is_no_prefix(query, value):
    assert parse_query(query).terms[0][:2] == ("", value)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "  ",
        '""',
        'x !""',
        '"open',
        "x" * 1001,
        "to:",
        "!to:",
        "message-id:<>",
        "is:x",
        "-form:x",
    ],
)
def test_query_is_refused(query):
    with pytest.raises(QueryError, match="query: "):
        parse_query(query)


def test_only_bare_words_need_bodies():
    assert parse_query("word").needs_text
    assert not parse_query("to:x").needs_text


@given(st.text(max_size=1100))
def test_any_text_is_refused_or_parsed(text):
    try:
        parse_query(text).matches(TEXT)
    except QueryError as error:
        assert str(error)
