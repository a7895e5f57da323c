"""What is made of other servers' answers: their deliveries read back, their column in the report."""

import re

import pytest

from prixfixe.verify.dialogue.script import CONFIGURATIONS, load
from prixfixe.verify.readback.delivered import kept
from tests.conformance.differential import DOCUMENTS
from tests.conformance.document import Column, document
from tests.conformance.peers import PEERS
from tests.conformance.peers.notes import NOTES, SETTINGS
from tests.conformance.report import FAIL, OTHERWISE, PASS, UNPUBLISHED, Result

CASES = load()
RECEIVED = b"Received: from c.test\n\tby peer.test id %b;\n\tWed, 25 Nov 2026 14:15:14 +0000\n"


def record(*addresses, raw):
    fields = b"".join(one.encode() + b"\0" for one in (str(len(addresses)), *addresses))
    return b"%d %b" % (len(fields + raw), fields + raw)


def read(*records, **options):
    return kept(b"".join(records), **{"are_names_in_order": True, **options})


def test_deliveries_of_one_message_are_one_message():
    raw = b"Return-Path: <>\n" + RECEIVED % b"A1" + b"Received: from z\nSubject: x\n\nhi\n"
    one, other = read(
        record("a@x.test", "b@y.test", raw=RECEIVED % b"B2" + b"\nhi\n"),
        record("", "b@y.test", raw=raw),
        record("", '"c d"@Y.test', raw=raw),
    )
    assert one.is_from("")
    assert one.is_for(["c d@y.test", "b@y.test"])
    assert one.has_body(b"Received: from z\r\nSubject: x\r\n\r\nhi\r\n")
    assert one.raw.startswith(b"Return-Path: <>\r\nReceived: ")
    assert other.is_from("a@x.test")
    assert other.has_body(b"hi\r\n")


@pytest.mark.parametrize("are_names_in_order", [True, False])
def test_order_is_that_of_the_queue_or_of_delivery(are_names_in_order):
    records = [record("a", "b", raw=RECEIVED % name + b"\nx\n") for name in (b"2", b"1")]
    first = read(*records, are_names_in_order=are_names_in_order)[0]
    assert (b" id 1;" in first.raw) == are_names_in_order


@pytest.mark.parametrize("body", [b"ho\r\n", b"hi", b"\r\n\r\nhi\r\n", b"hi\r\n\r\n"])
def test_another_body_is_another(body):
    (one,) = read(record("a@x.test", "b@y.test", raw=RECEIVED % b"A" + b"\nhi\n"))
    assert not one.has_body(body)


@pytest.mark.parametrize("name", ["B@y.test", "b@z.test", "bb@y.test"])
def test_another_mailbox_is_another(name):
    (one,) = read(record("a@x.test", "b@y.test", raw=RECEIVED % b"A" + b"\nhi\n"))
    assert not one.is_for([name])


def column(title, outcome, **names):
    found = {one: Result(CASES[one], outcome, "why", 1, 0.0) for one in CASES}
    return Column(title, "1.0", {name: found[name] for name in found if name not in UNPUBLISHED})


def test_only_what_binds_others_is_called_a_failure():
    other, own = column("Postfix", FAIL), column("PrixFixe", FAIL)
    marks = {name: other.mark(case) for name, case in CASES.items()}
    assert {marks[name] for name in UNPUBLISHED} == {"not published"}
    assert {marks[name] for name, case in CASES.items() if case.level == "P"} == {"otherwise"}
    assert marks["O11"] == "otherwise"  # as noted
    assert marks["O01"] == "fail"
    assert {own.mark(CASES[name]) for name in ("O11", "N01", "O01")} == {"fail"}


def test_the_document_has_every_row_and_why_a_column_is_missing():
    columns = [column("PrixFixe", PASS), column("aiosmtpd", OTHERWISE), column("Exim", FAIL)]
    text = document([*columns, Column("Postfix", "", {}, "no engine")], CASES)
    for name in CASES:
        assert f"\n| {name} | " in text
    assert "Postfix was not run: no engine" in text
    assert "- O11, Exim: " in text
    assert "- O11, Postfix: " not in text


def test_the_document_that_is_there_has_every_row_played():
    rows = dict(re.findall(r"^\| ([A-Z]\d\d) \|(.*)", DOCUMENTS[0].read_text(), re.MULTILINE))
    assert set(rows) == set(CASES)
    assert [name for name, row in rows.items() if "| not run |" in row] == []


def test_notes_are_about_rows_that_bind_and_servers_that_are_played():
    titles = {one.title for one in PEERS.values()}
    assert set(SETTINGS) == titles
    for name, notes in NOTES.items():
        assert CASES[name].level != "P", name
        assert set(notes) <= titles, name


@pytest.mark.parametrize("target", PEERS.values(), ids=PEERS)
def test_a_peer_has_settings_for_letters_that_exist(target):
    assert set(target.letters) <= CONFIGURATIONS.keys()
    assert "D" in target.letters
