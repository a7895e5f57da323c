import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.mail.message import Envelope, IdSource, Message, Recipient, render, trace_headers

TEXT = st.text(max_size=30)
PARAMS = st.lists(st.tuples(TEXT, st.none() | TEXT), max_size=3).map(tuple)
ENVELOPES = st.builds(
    Envelope,
    sender=TEXT,
    recipients=st.lists(st.builds(Recipient, TEXT, PARAMS), max_size=3).map(tuple),
    sender_params=PARAMS,
    peer=TEXT,
    helo=TEXT,
    tls=st.none() | TEXT,
    user=st.none() | TEXT,
)


@given(ENVELOPES)
def test_envelope_survives_json(envelope):
    text = envelope.to_json()
    assert text.isascii()
    assert "\n" not in text
    assert Envelope.from_json(text) == envelope
    assert text == json.dumps(envelope._asdict(), separators=(",", ":"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sender": 1}', "null"])
def test_envelope_refuses_other_records(text):
    with pytest.raises(ValueError, match=r".*"):
        Envelope.from_json(text)


def test_ids_are_unique_under_a_frozen_clock():
    source = IdSource(clock=lambda: 1e9)
    ids = {source()[0] for _ in range(5000)}
    assert len(ids) == 5000


def test_ids_draw_anew_when_the_counter_wraps():
    draws = iter([b"aaaaaa", b"bbbbbb"])
    source = IdSource(clock=lambda: 1e9, random=lambda _: next(draws))
    source._count = 0xFFFFF
    first, second = source()[0], source()[0]
    assert first[11:23] != second[11:23]


def test_ids_are_url_safe_and_sort_by_time():
    times = iter([1e9, 1e9 + 0.001, 2e9])
    source = IdSource(clock=lambda: next(times))
    ids = [source()[0] for _ in range(3)]
    assert ids == sorted(ids)
    assert all(len(one) == 28 and one.isalnum() for one in ids)


def test_render_puts_trace_in_front_of_the_body():
    envelope = Envelope(
        "a@x.test", (Recipient("b@y.test"),), peer="192.0.2.1:25", helo="c.test", domain="mx.test"
    )
    text = render(Message("ID1", 0.0, envelope, b"Subject: x\r\n\r\nhi"))
    assert text == (
        b"Return-Path: <a@x.test>\r\n"
        b"Received: from c.test ([192.0.2.1])\r\n"
        b"\tby mx.test with ESMTP id ID1\r\n"
        b"\tfor <b@y.test>; Thu, 01 Jan 1970 00:00:00 +0000\r\n"
        b"Subject: x\r\n\r\nhi"
    )


def test_render_names_no_recipient_when_there_are_several():
    envelope = Envelope("", (Recipient("b@y"), Recipient("c@y")), peer="[::1]:25")
    text = render(Message("ID1", 0.0, envelope, b""))
    assert b"for <" not in text
    assert b"Return-Path: <>\r\n" in text
    assert b"([IPv6:::1])" in text


def test_a_zone_is_left_out_of_the_trace():
    envelope = Envelope("", (Recipient("b@y"),), peer="[fe80::1%eth0]:25")
    assert b"([IPv6:fe80::1])" in trace_headers(Message("ID1", 0.0, envelope, b""))
