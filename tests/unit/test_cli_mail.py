"""`prixfixe messages`, `show` and `export`: reading a store that runs or not."""

import contextlib
import json
import mailbox
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from prixfixe.cli.main import main
from prixfixe.cli.messages import _subject
from prixfixe.http.api.mailpit import RECORD_VERSION, described
from prixfixe.mail.message import Envelope, Message, Recipient, render
from prixfixe.stores.base import StoreError
from prixfixe.stores.index import Index, IndexOptions
from prixfixe.stores.registry import index_path, open_store
from prixfixe.testing.store_contract import opened

BODIES = (
    b"Subject: first\r\n\r\nFrom me\r\n>From you\r\n",
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n\xff\x00 no line end",
    b"no header at all",
)


def message(number, body):
    to = (Recipient("One@to.test"), Recipient(f"box{number}@to.test"))
    envelope = Envelope("" if number == 2 else "a@from.test", to, peer="127.0.0.1:9", helo="c")
    return Message(f"{number:028x}", 1_700_000_000.5 + number, envelope, body)


MAIL = tuple(message(number, body) for number, body in enumerate(BODIES))


@pytest.fixture(params=["sqlite", "maildir"])
def url(request, tmp_path):
    return f"{request.param}:{tmp_path / 'store'}"


@pytest.fixture
async def store(url, monkeypatch):
    """Keep some mail, name the store in the environment, leave it open."""
    monkeypatch.setenv("SMTP_STORE", url)
    opened = open_store(url)
    await opened.open()
    for one in MAIL:
        await opened.put(one)
    yield opened
    await opened.close()


@pytest.fixture
def kept(store):
    """Name a store that holds MAIL; a test that needs the store itself asks for `store`."""


# --- messages


def test_messages_are_listed_newest_first(kept, capsys):
    assert main(["messages"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{2:028x}  2023-11-14T22:13:22Z  <>  One@to.test,box2@to.test  16",
        f"{1:028x}  2023-11-14T22:13:21Z  <a@from.test>  One@to.test,box1@to.test  54  Grüße",
        f"{0:028x}  2023-11-14T22:13:20Z  <a@from.test>  One@to.test,box0@to.test  38  first",
    ]


def test_messages_as_json_lines_hold_the_envelope(kept, capsys):
    assert main(["messages", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["id"] for record in records] == [one.id for one in reversed(MAIL)]
    assert records[1]["subject"] == "Grüße"
    assert (records[1]["size"], records[1]["received_at"]) == (54, "2023-11-14T22:13:21Z")
    assert Envelope.from_json(json.dumps(records[1]["envelope"])) == MAIL[1].envelope


@pytest.mark.parametrize(
    ("to", "found"),
    [("box1@TO.test", [1]), ("one@to.test", [2, 1, 0]), ("one", []), ("a@from.test", [])],
)
def test_messages_to_an_envelope_recipient(kept, capsys, to, found):
    assert main(["messages", "--to", to, "--json"]) == 0
    ids = [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]
    assert ids == [MAIL[number].id for number in found]


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        (b"Subject: plain", "plain"),
        (b"subject: folded\r\n  twice", "folded twice"),
        (b"Subject: Gr\xc3\xbc\xc3\x9fe", "Grüße"),
        (b"Subject: \xff\xfe", "\ufffd\ufffd"),
        (b"Subject: =?utf-8?b?G1szMW0=?=", " [31m"),
        (b"Subject: =?utf-8?q?=0Aid__forged?=", "id forged"),
        (b"Subject: =?nowhere?q?a?=", "=?nowhere?q?a?="),
        (b"Subject: =?utf-8?b?!!!?=", None),
        (b"Subject: \xe2\x80\xaetxt.exe", " txt.exe"),
        (b"Subject: one\r\nSubject: two", "one"),
        (b"X-Subject: no", ""),
        (b"Subject:", ""),
        (b"", ""),
    ],
    ids=repr,
)
def test_subject_is_decoded_and_safe_for_a_terminal(field, shown):
    text = _subject(field + b"\r\n\r\nSubject: body\r\n")
    assert shown is None or text == shown
    assert text == "".join(letter if letter.isprintable() else " " for letter in text)


async def test_escape_sequences_in_an_envelope_do_not_reach_the_terminal(store, capsys):
    await store.put(
        message(9, b"")._replace(envelope=Envelope("\x1b[2J@x", (Recipient("\u202ea@b"),)))
    )
    main(["messages"])
    assert not {"\x1b", "\u202e"} & set(capsys.readouterr().out)


# --- show


@pytest.mark.parametrize("is_indexed", [False, True])
async def test_messages_that_match_a_query(store, url, capsys, is_indexed):
    if is_indexed:
        index = index_of(url, store)
        await index.ask(lambda catalog: catalog.mark([MAIL[2].id], is_read=True))
        await index.close()
    for query, found in [("GRÜSSE", [1]), ("-to:box1", [2, 0]), ("is:read", [2] * is_indexed)]:
        assert main(["messages", f"--query={query}"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == [MAIL[each].id for each in found], query
    assert main(["messages", "--query", "is:x"]) == 2
    assert "is:x is not known" in capsys.readouterr().err


def index_of(url, store):
    options = IndexOptions(
        open_reader=store.open_reader,
        describe=described,
        version=RECORD_VERSION,
        path=index_path(url),
    )
    index = Index(options)
    index.start()
    return index


def test_a_terminal_gets_a_row_of_headings(kept, capsys, monkeypatch):
    main(["messages"])
    plain = capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    main(["messages"])
    heading, rest = capsys.readouterr().out.split("\n", 1)
    assert (heading.split()[:2], rest) == (["ID", "RECEIVED"], plain)


async def test_show_prints_the_text_or_one_part(store, capfdbinary):
    body = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\x1b[1m\r\n--b\r\n"
        b"Content-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--b--\r\n"
    )
    await store.put(message(9, body))
    assert main(["show", "latest", "--text"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"hello")
    assert main(["show", "latest", "--part", "2"]) == 0
    assert capfdbinary.readouterr().out == b"\x00\x01\x02"
    assert main(["show", "latest", "--part", "9"]) == 1
    assert capfdbinary.readouterr().err == b"prixfixe: no part '9' in this message; it has 1, 2\n"


@pytest.mark.parametrize("number", range(len(MAIL)))
def test_show_prints_the_message_to_the_octet(kept, capfdbinary, number):
    assert main(["show", MAIL[number].id]) == 0
    assert capfdbinary.readouterr().out == render(MAIL[number])


def test_show_latest_is_the_newest(kept, capfdbinary):
    assert main(["show", "latest"]) == 0
    assert capfdbinary.readouterr().out == render(MAIL[-1])


@pytest.mark.parametrize(
    "wanted", ["latest", "f" * 28, "../../etc/passwd", "", "%", "a\x1bb", "\udcff"]
)
async def test_show_names_an_id_that_is_not_there(store, capsys, wanted):
    await store.delete(None)
    assert main(["show", wanted]) == 1
    assert capsys.readouterr() == ("", f"prixfixe: no message {wanted!r} in this store\n")


# --- export


def contents(folder):
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def test_export_as_eml_files(kept, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    assert main(["export", str(out), "--format", "eml"]) == 0
    assert contents(out) == [render(one) for one in MAIL]
    assert [path.name for path in sorted(out.iterdir())] == [f"{one.id}.eml" for one in MAIL]
    assert capsys.readouterr().out == f"3 messages exported to {out}\n"


def test_export_as_maildir(kept, tmp_path):
    out = tmp_path / "out"
    assert main(["export", str(out), "--format", "maildir"]) == 0
    assert contents(out / "new") == [render(one) for one in MAIL]
    assert len(mailbox.Maildir(out, create=False)) == 3


def test_export_as_mbox_is_reversible(kept, tmp_path):
    out = tmp_path / "out.mbox"
    assert main(["export", str(out), "--format", "mbox"]) == 0
    box = mailbox.mbox(out, create=False)
    unquoted = [re.sub(rb"(?m)^>(>*From )", rb"\1", box.get_bytes(key)) for key in box.iterkeys()]
    box.close()
    expected = [render(one).replace(b"\r\n", b"\n") for one in MAIL]
    assert [text.rstrip(b"\n") for text in unquoted] == [text.rstrip(b"\n") for text in expected]
    starts = re.findall(rb"(?m)^From .*$", out.read_bytes())
    assert starts[0] == b"From a@from.test Tue Nov 14 22:13:20 2023"
    assert [start.split()[1] for start in starts] == [b"a@from.test"] * 2 + [b"MAILER-DAEMON"]


def test_export_to_standard_output_is_the_same_mbox_and_nothing_else(kept, tmp_path, capfdbinary):
    out = tmp_path / "out.mbox"
    assert main(["export", str(out), "--format", "mbox"]) == 0
    capfdbinary.readouterr()
    assert main(["export", "-", "--format", "mbox"]) == 0
    output, error = capfdbinary.readouterr()
    assert output == out.read_bytes()
    assert error == b"3 messages exported to standard output\n"


def test_a_file_may_be_named_like_standard_output(kept, tmp_path, capfdbinary, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "./-", "--format", "mbox"]) == 0
    assert (tmp_path / "-").read_bytes().startswith(b"From ")
    assert capfdbinary.readouterr().out == b"3 messages exported to -\n"


HOSTILE = {
    "id": {"id": "../../outside"},
    "absolute id": {"id": "/tmp/outside"},
    "sender": {"envelope": MAIL[0].envelope._replace(sender="a@b\r\nFrom x@y now\r\n\r\nBcc: c@d")},
    "helo": {"envelope": MAIL[0].envelope._replace(helo="x\r\n\r\nbody")},
    "half a character": {"envelope": MAIL[0].envelope._replace(sender="\ud800@b")},
    "time": {"received_at": 1e300},
}


@pytest.mark.parametrize("form", ["eml", "mbox", "maildir"])
@pytest.mark.parametrize("what", HOSTILE)
async def test_export_of_a_foreign_store_writes_nothing_elsewhere(
    what, form, tmp_path, monkeypatch, capsys
):
    """A store that somebody else made is copied without what would lead out of the copy."""
    url = f"sqlite:{tmp_path / 'store'}"
    monkeypatch.setenv("SMTP_STORE", url)
    async with opened(url) as store:
        for one in (MAIL[0]._replace(**HOSTILE[what]), MAIL[1]):
            await store.put(one)
    out = tmp_path / "deep" / "er" / "out"
    assert main(["export", str(out), "--format", form]) == 1
    said = capsys.readouterr()
    assert "1 messages exported" in said.out
    assert "prixfixe: message " in said.err
    places = {each.name for each in tmp_path.iterdir()} - {"store-wal", "store-shm"}
    assert places == {"deep", "store", "store.lock", "store.reserve"}
    assert [each.name for each in out.parent.iterdir()] == ["out"]
    if form == "mbox":
        with contextlib.closing(mailbox.mbox(out)) as copied:
            assert len(copied) == 1


async def test_an_id_that_leads_out_of_a_maildir_is_refused(tmp_path):
    async with opened(f"maildir:{tmp_path / 'store'}") as store:
        with pytest.raises(StoreError):
            await store.put(MAIL[0]._replace(id="../../outside"))
        await store.put(MAIL[1])
    assert [each.name for each in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize(("path", "code"), [("-", 1), ("out.mbox", 0)])
def test_an_export_that_nobody_reads_to_its_end_is_none(kept, tmp_path, path, code):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "prixfixe", "export", "--format", "mbox", path],
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.PIPE,
        )
    assert done.returncode == code
    assert (b"standard output was closed before all was written" in done.stderr) == bool(code)


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("messages >&-", 0, b""),
        ("messages <&- >&- 2>&-", 0, b""),
        ("hash-password <&-", 2, b"prixfixe: expected a password"),
        ("export --format mbox out.mbox >&-", 0, b""),
        ("export --format mbox - >&-", 1, b"prixfixe: standard output was closed"),
    ],
)
def test_what_was_closed_before_the_start_is_no_defect(kept, tmp_path, command, code, told):
    line = f'exec "{sys.executable}" -m prixfixe {command}'
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr[: len(told) or None]) == (code, told)


@pytest.mark.parametrize("form", ["eml", "maildir"])
def test_a_folder_does_not_go_to_standard_output(kept, tmp_path, monkeypatch, capsys, form):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "-", "--format", form]) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert f"{form} is a folder: only --format mbox goes to standard output" in error
    assert not Path("-").exists()


@pytest.mark.parametrize("form", ["eml", "maildir"])
def test_export_takes_an_empty_folder_only(kept, tmp_path, capsys, form):
    out = tmp_path / "out"
    out.mkdir()
    assert main(["export", str(out), "--format", form]) == 0
    assert main(["export", str(out), "--format", form]) == 1
    assert f"{out}: not empty; expected a new or an empty folder" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["eml", "maildir", "mbox"])
def test_export_never_overwrites_a_file(kept, tmp_path, capsys, form):
    out = tmp_path / "out"
    out.write_bytes(b"precious")
    assert main(["export", str(out), "--format", form]) == 1
    assert out.read_bytes() == b"precious"
    assert f"prixfixe: {out}: File exists; expected" in capsys.readouterr().err


def test_export_of_no_store_makes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SMTP_STORE", f"sqlite:{tmp_path / 'none'}")
    assert main(["export", str(tmp_path / "out")]) == 3
    assert not (tmp_path / "out").exists()


# --- trouble


@pytest.mark.parametrize("command", [["messages"], ["show", "latest"]], ids=" ".join)
@pytest.mark.parametrize(
    ("url", "reason"),
    [("sqlite:none/at.all", "does not exist"), ("memory:", "read it over HTTP")],
)
def test_a_store_that_cannot_be_read_exits_3(monkeypatch, tmp_path, capsys, command, url, reason):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMTP_STORE", url)
    assert main(command) == 3
    output, error = capsys.readouterr()
    assert output == ""
    assert reason in error
    assert len(error.splitlines()) == 1


def test_a_store_that_breaks_while_it_is_read_exits_1(kept, url, monkeypatch, capsys):
    class Broken:
        def ids(self, *_):
            raise StoreError("disk I/O error")

        def close(self):
            self.is_closed = True

    reader = Broken()
    monkeypatch.setattr("prixfixe.stores.registry.open_reader", lambda _: reader)
    assert main(["messages"]) == 1
    assert capsys.readouterr().err == f"prixfixe: store {url}: disk I/O error\n"
    assert reader.is_closed


@pytest.fixture
async def damaged(tmp_path, monkeypatch):
    """Name a store whose second message is not as it was written."""
    path = tmp_path / "damaged.db"
    monkeypatch.setenv("SMTP_STORE", f"sqlite:{path}")
    store = open_store(f"sqlite:{path}")
    await store.open()
    for one in MAIL:
        await store.put(one)
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE message SET body = X'78' WHERE id = ?", (MAIL[1].id,))
    connection.close()


def test_a_damaged_message_is_named_and_the_rest_is_listed(damaged, capsys):
    assert main(["messages", "--json"]) == 1
    output, error = capsys.readouterr()
    assert [json.loads(line)["id"] for line in output.splitlines()] == [MAIL[2].id, MAIL[0].id]
    assert MAIL[1].id in error


@pytest.mark.parametrize("index", [1, 2])
async def test_a_message_that_is_listed_and_not_there_is_named(
    index, tmp_path, monkeypatch, capsys
):
    """A bit of its id flipped in one of the two indexes; the first place is the table's."""
    path = tmp_path / "damaged.db"
    monkeypatch.setenv("SMTP_STORE", f"sqlite:{path}")
    async with opened(f"sqlite:{path}") as store:
        for one in MAIL:
            await store.put(one)
    content = bytearray(path.read_bytes())
    ends = [found.end() for found in re.finditer(MAIL[2].id.encode(), content)]
    content[ends[index] - 1] ^= 4  # and it stays the last in order
    path.write_bytes(content)
    for command in (["messages", "--json"], ["export", str(tmp_path / "out")]):
        assert main(command) == 1
        assert "is listed and not there" in capsys.readouterr().err
    assert contents(tmp_path / "out") == [render(MAIL[0]), render(MAIL[1])]


def test_a_damaged_message_is_not_shown(damaged, capsys):
    assert main(["show", MAIL[1].id]) == 1
    output, error = capsys.readouterr()
    assert output == ""
    assert MAIL[1].id in error


def test_a_damaged_message_is_not_exported(damaged, tmp_path, capsys):
    assert main(["export", str(tmp_path / "out")]) == 1
    assert contents(tmp_path / "out") == [render(MAIL[0]), render(MAIL[2])]
    assert MAIL[1].id in capsys.readouterr().err


@pytest.mark.parametrize("form", ["eml", "maildir", "mbox"])
def test_export_to_an_impossible_path_exits_1(kept, tmp_path, capsys, form):
    (tmp_path / "file").touch()
    assert main(["export", str(tmp_path / "file" / "out"), "--format", form]) == 1
    assert "file" in capsys.readouterr().err
