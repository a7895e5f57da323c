"""The fuzzer's corpus and the table's dialogues through its harness, without a fuzzer."""

import time
from pathlib import Path

import pytest

from prixfixe.smtp import replies
from prixfixe.smtp.session import Session
from prixfixe.verify.dialogue.script import load
from tests.fuzz.harness import OFFERS, TARGETS, session

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())
HANG_SECONDS = 1.0


@pytest.mark.parametrize("path", INPUTS, ids=[f"{one.parent.name}-{one.name}" for one in INPUTS])
def test_corpus(path):
    start = time.thread_time()  # Not the wall's clock: others may use the processor.
    TARGETS[path.parent.name](path.read_bytes())
    assert time.thread_time() - start < HANG_SECONDS


@pytest.mark.parametrize("offer", range(len(OFFERS)))
@pytest.mark.parametrize("size", [0, 1, 11], ids=["whole", "octets", "elevens"])
def test_dialogues_of_the_table(offer, size):
    for case in load().values():
        for part in case.parts:
            sent = b"".join(step.octets for step in part.steps)
            if sent and len(sent) < 30_000:
                session(bytes((offer, size)) + sent)


def test_every_target_has_a_corpus():
    assert {path.parent.name for path in INPUTS} == set(TARGETS)
    assert sum(path.stat().st_size for path in INPUTS) < 2**20


BUGS = {
    "a reply that repeats what was sent": lambda self, reply: self.output.append(b"500 \x1b\r\n"),
    "a reply too long": lambda self, reply: self.output.append(b"250 " + b"x" * 600 + b"\r\n"),
    "half a reply": lambda self, reply: self.output.append(reply.wire[:-1]),
}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_the_harness_sees_bugs(monkeypatch, bug):
    monkeypatch.setattr(Session, "say", bug)
    with pytest.raises(AssertionError, match="reply"):
        session(b"\0\0NOOP\r\n")


WRONG_PATHS = {
    "changed": ("b@y.test", ""),
    "control": ("a\x1b@y.test", ""),
    "no mailbox": ("a..b@y.test", ""),
}


@pytest.mark.parametrize(("wrong", "found"), WRONG_PATHS.items(), ids=WRONG_PATHS)
def test_the_harness_sees_a_wrong_path(monkeypatch, wrong, found):
    monkeypatch.setattr("tests.support.parser_oracle.parse_path", lambda _text: found)
    sent = "<a@y.test>" if wrong == "changed" else f"<{found[0]}>"
    with pytest.raises(AssertionError, match=wrong):
        TARGETS["address"](sent.encode())


@pytest.mark.parametrize("found", [(("SIZE", "2"),), (), (("SIZE", "1"), ("SIZE", "1"))])
def test_the_harness_sees_wrong_parameters(monkeypatch, found):
    monkeypatch.setattr("tests.support.parser_oracle.parse_parameters", lambda _text, _known: found)
    with pytest.raises(AssertionError, match=r"changed|twice"):
        TARGETS["parameters"](b" SIZE=1" * max(len(found), 1))


def test_the_harness_sees_a_lone_line_feed(monkeypatch):
    monkeypatch.setattr("prixfixe.smtp.session.check_body", lambda body, **_: None)
    with pytest.raises(AssertionError, match="lone"):
        session((CORPUS / "session" / "smuggling-00").read_bytes())
    assert replies.BARE_LINE_END.code == replies.BARE_LF.code == 550
