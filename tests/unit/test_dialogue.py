"""The conversation without sockets: octets in, replies out."""

import gc
import re
import weakref

import pytest

from prixfixe.smtp import mail_commands as envelope
from prixfixe.smtp import replies
from prixfixe.smtp.session import MAX_LINE_OCTETS, STEP, Mode
from tests.support.session_driver import Talk


@pytest.fixture
def talk():
    return Talk


EHLO = b"EHLO c.test\r\n"
M = b"MAIL FROM:<a@x.test>\r\n"
R = b"RCPT TO:<b@y.test>\r\n"
START = EHLO + M + R
AUTH = {"SMTP_AUTH": "any", "SMTP_AUTH_INSECURE": "true"}
TLS = {"SMTP_TLS_CERT": "self-signed"}

CASES = {
    "order": (R + M, [503, 503]),
    "mail before hello": (M, [503]),
    "hello again resets": (START + EHLO + R, [250, 250, 250, 250, 503]),
    "nested mail": (EHLO + M + M, [250, 250, 503]),
    "nested null mail": (EHLO + b"MAIL FROM:<>\r\n" + M, [250, 250, 503]),
    "rset": (START + b"RSET\r\n" + R, [250, 250, 250, 250, 503]),
    "rset with argument": (b"RSET x\r\n", [501]),
    "before hello": (b"NOOP x\r\nRSET\r\nVRFY x\r\nHELP\r\nQUIT\r\n", [250, 250, 252, 214, 221]),
    "nothing after quit": (b"QUIT\r\nVRFY x\r\n", [221]),
    "quit with argument": (b"QUIT now\r\n", [501]),
    "helo": (b"HELO c\r\nEHLO\r\nHELO\r\n", [250, 501, 501]),
    "literals": (b"EHLO [127.0.0.1]\r\nEHLO [IPv6:::1]\r\n", [250, 250]),
    "hello with a tab": (b"EHLO a\tX: 1\r\n", [501]),
    "hello with two words": (b"EHLO a b\r\n", [501]),
    "trailing blanks": (b"NOOP \t\r\nEHLO c \r\nMAIL FROM:<a@b> \t\r\n", [250, 250, 250]),
    "verb case": (
        b"eHlO c\r\nmAiL fRoM:<a@b>\r\nrcpt to:<c@d>\r\ndAtA\r\n.\r\nquit\r\n",
        [250, 250, 250, 354, 250, 221],
    ),
    "blank before path": (EHLO + b"MAIL FROM: <a@b>\r\nRCPT TO: <c@d>\r\n", [250, 250, 250]),
    "bad keyword": (EHLO + b"MAIL FRM:<a@b>\r\n" + R, [250, 501, 503]),
    "no argument": (EHLO + b"MAIL\r\nRCPT\r\nVRFY\r\n", [250, 501, 503, 501]),
    "bad sender": (EHLO + b"MAIL FROM:<a>\r\n", [250, 501]),
    "not UTF-8": (EHLO + b"MAIL FROM:<\xff@x> SMTPUTF8\r\n", [250, 501]),
    "UTF-8 undeclared": (EHLO + "MAIL FROM:<é@x>\r\n".encode(), [250, 553]),
    "UTF-8 declared": (
        EHLO + "MAIL FROM:<é@x> SMTPUTF8\r\nRCPT TO:<用@x>\r\n".encode(),
        [250, 250, 250],
    ),
    "UTF-8 recipient undeclared": (EHLO + M + "RCPT TO:<é@x>\r\n".encode(), [250, 250, 553]),
    "no parameters after HELO": (b"HELO c\r\nMAIL FROM:<a@b> SIZE=1\r\n", [250, 555]),
    "rcpt parameters": (
        EHLO + M + b"RCPT TO:<a@b> NOTIFY=NEVER\r\nRCPT TO:<a@b> X=Y\r\n",
        [250, 250, 250, 555],
    ),
    "empty recipient": (EHLO + M + b"RCPT TO:<>\r\n", [250, 250, 501]),
    "bad recipient": (EHLO + M + b"RCPT TO:<a\r\nRCPT FOO\r\n", [250, 250, 501, 501]),
    "data without recipient": (EHLO + M + b"DATA\r\n", [250, 250, 503]),
    "data with argument": (START + b"DATA x\r\n", [250, 250, 250, 501]),
    "refused data is not read": (
        EHLO + b"DATA\r\nSubject: x\r\n\r\nNOOP\r\n",
        [250, 503, 500, 500, 250],
    ),
    "declared size": (EHLO + b"MAIL FROM:<a@b> SIZE=99999999999\r\n", [250, 552]),
    "two messages in a batch": (
        START + b"DATA\r\nx\r\n.\r\n" + M + R + b"DATA\r\ny\r\n.\r\nQUIT\r\n",
        [250, 250, 250, 354, 250, 250, 250, 354, 250, 221],
    ),
    "bare LF command": (b"NOOP\nNOOP\r\n", [500, 250]),
    "CR in a command": (b"A\rB C\r\nNOOP\r\r\nNOOP\r\n", [500, 500, 250]),
    "empty line": (b"\r\n", [500]),
    "unknown": (b"FOOB bar\r\nEXPN x\r\nTURN\r\n", [500, 502, 502]),
    "http": (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n" + START, [421]),
    "long noop": (b"NOOP " + b"x" * 505 + b"\r\n", [250]),
    "too long noop": (b"NOOP " + b"x" * 506 + b"\r\n", [500]),
    "longest line then too long": (b"x" * (MAX_LINE_OCTETS + 1) + b"\r\nNOOP\r\n", [500, 250]),
    "bdat": (START + b"BDAT 3\r\nabcBDAT 4 last\r\nd\r\ne", [250, 250, 250, 250, 250]),
    "bdat 0 last": (
        START + b"BDAT 3\r\nabcBDAT 0 LAST\r\nNOOP\r\n",
        [250, 250, 250, 250, 250, 250],
    ),
    "empty bdat": (START + b"BDAT 0 LAST\r\n", [250, 250, 250, 250]),
    "bdat before rcpt": (
        EHLO + M + b"BDAT 13 LAST\r\nMAIL FROM:<\r\nNOOP\r\n",
        [250, 250, 503, 250],
    ),
    "bdat before mail": (EHLO + b"BDAT 6 LAST\r\nNOOP\r\nNOOP\r\n", [250, 503, 250]),
    "bdat before hello": (b"BDAT 6 LAST\r\nNOOP\r\nNOOP\r\n", [503, 250]),
    "data after bdat": (START + b"BDAT 1\r\nxDATA\r\n" + R, [250, 250, 250, 250, 503, 503]),
    "bdat then rset": (START + b"BDAT 1\r\nxRSET\r\n" + M + R, [250] * 7),
    "bdat syntax": (START + b"BDAT x\r\nNOOP\r\n", [250, 250, 250, 501, 421]),
    "bdat beyond all bounds": (START + b"BDAT 99999999999999999999\r\n", [250, 250, 250, 552, 421]),
    "bdat without a size": (START + b"BDAT\r\nNOOP\r\n", [250, 250, 250, 501, 250]),
    "bdat with a word too many": (
        START + b"BDAT 6 LAST x\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
        [250, 250, 250, 501, 503, 250],
    ),
    "many chunks in a batch": (START + b"BDAT 1\r\nx" * 40 + b"BDAT 0 LAST\r\n", [250] * 44),
    "empty chunk at the end of a slice": (
        START + b"NOOP\r\n" * (STEP - 4) + b"BDAT 0 LAST\r\n",
        [250] * STEP,
    ),
    "line feed first": (b"\nNOOP\r\n", [500, 250]),
    "only line feeds": (b"\n\n\r\n", [500, 500, 500]),
    "postmaster as sender": (EHLO + b"MAIL FROM:<postmaster>\r\n" + R, [250, 501, 503]),
    "route in UTF-8 undeclared": (EHLO + "MAIL FROM:<@é.test:a@x>\r\n".encode(), [250, 553]),
    "parameter in UTF-8 undeclared": (
        EHLO + M + "RCPT TO:<b@y> ORCPT=utf-8;é\r\n".encode(),
        [250, 250, 553],
    ),
    "parameter of AUTH without AUTH": (EHLO + b"MAIL FROM:<a@b> AUTH=<>\r\n", [250, 555]),
    "no text": (
        b"NOOP \0\r\nHELP \x1b\r\nVRFY \xff\r\nNOOP \xc3\xa9\r\nVRFY \x7f\r\n",
        [500, 500, 500, 500, 500],
    ),
    "vrfy in UTF-8": (
        "VRFY é\r\nVRFY é SMTPUTF8\r\n".encode() + b"VRFY \xff SMTPUTF8\r\n",
        [500, 252, 500],
    ),
    "http by any method": (b"PURGE /x HTTP/1.1\r\n" + START, [421]),
    **{
        f"http by {verb}": (f"{verb} / HTTP/1.1\r\n".encode() + START, [421])
        for verb in ("NOOP", "HELP", "vrfy", "RSET", "EHLO", "MAIL", "BDAT", "STARTTLS", "QUIT")
    },
    "a word of http": (b"NOOP HTTP/1.1 HTTP/ x\r\n", [250]),
    "tls not offered": (b"STARTTLS\r\n", [502]),
    "auth not offered": (EHLO + b"AUTH PLAIN\r\n", [250, 502]),
}


@pytest.mark.parametrize(("octets", "codes"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("size", [100_000, 1, 7], ids=["whole", "octets", "sevens"])
def test_dialogue(talk, octets, codes, size):
    assert talk().in_pieces(octets, size) == codes


def test_every_command_is_counted_by_verb_and_code(talk):
    subject = talk()
    subject.send(START + b"DATA\r\nx\r\n.\r\nFOO\r\n")
    assert subject.counts == [
        ("EHLO", 250), ("MAIL", 250), ("RCPT", 250), ("DATA", 354), ("DATA", 250), ("OTHER", 500),
    ]  # fmt: skip


def test_ehlo_offers_what_the_interface_says(talk):
    lines = talk().say(EHLO)
    assert [re.sub(r"^250[- ]", "", line) for line in lines[1:]] == [
        "PIPELINING", "SIZE 10485760", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING",
        "DSN", "HELP",
    ]  # fmt: skip
    assert lines[0].startswith("250-localhost")


def test_envelope_is_kept_as_sent(talk):
    subject = talk()
    subject.session.name_peer("192.0.2.9:1234")
    subject.send(
        EHLO + b"MAIL FROM:<A@x.test> body=8bitmime RET=HDRS ENVID=q\r\n"
        b"RCPT TO:<B@y.test> NOTIFY=NEVER\r\nRCPT TO:<c@y.test>\r\nDATA\r\n..x\r\n.\r\n"
    )
    envelope, body = subject.world.kept[0]
    assert body == b".x\r\n"
    assert envelope.sender == "A@x.test"
    assert envelope.sender_params == (("BODY", "8bitmime"), ("RET", "HDRS"), ("ENVID", "q"))
    assert envelope.recipients == (("B@y.test", (("NOTIFY", "NEVER"),)), ("c@y.test", ()))
    assert (envelope.peer, envelope.helo, envelope.protocol) == (
        "192.0.2.9:1234",
        "c.test",
        "ESMTP",
    )


@pytest.mark.parametrize(
    ("octets", "keyword"),
    [
        (b"HELO c\r\n" + M, "SMTP"),
        (EHLO + M, "ESMTP"),
        (EHLO + b"MAIL FROM:<a@b> SMTPUTF8\r\n", "UTF8SMTP"),
        (b"STARTTLS\r\n", "ESMTPS"),
    ],
)
def test_protocol_keyword(talk, octets, keyword):
    subject = talk(**TLS)
    subject.send(octets)
    if keyword == "ESMTPS":
        subject.send(EHLO + M)
    subject.send(R + b"DATA\r\n.\r\n")
    assert subject.world.kept[0][0].protocol == keyword


def test_body_too_big_is_552_and_the_session_goes_on(talk):
    subject = talk(SMTP_MAX_MESSAGE_SIZE="2000")
    assert subject.send(START + b"DATA\r\n" + b"x" * 3000 + b"\r\n.\r\n" + M)[-2:] == [552, 250]
    assert subject.world.kept == []


def test_bare_line_end_in_a_body_is_550(talk):
    subject = talk()
    assert subject.send(START + b"DATA\r\na\nb\r\n.\r\n" + M)[-2:] == [550, 250]


def test_chunks_over_the_limit_are_552_and_eaten(talk):
    subject = talk(SMTP_MAX_MESSAGE_SIZE="1024")
    codes = subject.send(
        START
        + b"BDAT 1000\r\n"
        + b"x" * 1000
        + b"BDAT 100 LAST\r\n"
        + b"NOOP\r\n" * 16
        + b"xxxxNOOP\r\n"
    )
    assert codes[-3:] == [250, 552, 250]


def test_recipients_over_the_limit_are_452_and_earlier_ones_kept(talk):
    subject = talk(SMTP_MAX_RECIPIENTS="2")
    assert subject.send(START + R + R + b"DATA\r\n.\r\n")[-4:] == [250, 452, 354, 250]
    assert len(subject.world.kept[0][0].recipients) == 2


def test_recipient_outside_the_list_is_550(talk):
    assert talk(SMTP_RECIPIENTS="@z.test").send(START)[-1] == 550


def test_too_many_errors_close_the_session(talk):
    assert talk(SMTP_MAX_ERRORS="3").send(b"X\r\n" * 5) == [500, 500, 500, 421]


def test_failed_store_is_a_temporary_refusal(talk):
    subject = talk()
    subject.world.failure = replies.STORE_FULL
    assert subject.send(START + b"DATA\r\n.\r\nDATA\r\n")[-2:] == [452, 503]


def test_input_waits_while_a_message_is_being_kept(talk):
    subject = talk()
    subject.world.is_waiting = True
    assert subject.send(START + b"DATA\r\n.\r\nNOOP\r\n")[-1] == 354
    assert subject.session.is_busy
    assert subject.send(b"NOOP\r\n") == []
    subject.world.answer()
    assert subject.send(b"") == [250, 250, 250]


def test_draining_waits_for_the_message_under_way(talk):
    subject = talk()
    subject.world.is_waiting = True
    subject.send(START + b"DATA\r\n.\r\n")
    subject.session.interrupt(replies.SHUTTING_DOWN)
    assert subject.session.output == []
    subject.world.answer()
    assert subject.send(b"NOOP\r\n") == [250, 421]


def test_draining_closes_an_idle_session_at_once(talk):
    subject = talk()
    subject.send(EHLO)
    subject.session.interrupt(replies.SHUTTING_DOWN)
    assert subject.send(b"NOOP\r\n") == [421]
    assert subject.session.mode is Mode.CLOSED


def test_input_after_the_end_is_not_kept(talk):
    subject = talk()
    subject.send(b"QUIT\r\n")
    subject.session.receive(b"x" * 1000)
    assert subject.session.buffered == 0
    assert subject.session.has_quit


def test_answers_after_the_end_are_silent(talk):
    subject = talk()
    subject.world.is_waiting = True
    subject.send(START + b"DATA\r\n.\r\n")
    subject.session.end()
    subject.world.serve()
    subject.world.answer()
    subject.session.failed(replies.STORE_FAILED)
    subject.session.login_checked(None, replies.BAD_CREDENTIALS)
    assert subject.session.output == []


def test_one_step_of_work_handles_a_few_commands(talk):
    subject = talk()
    subject.session.receive(b"NOOP\r\n" * (STEP + 1))
    assert subject.session.work() is True
    assert len(subject.session.output) == STEP
    assert subject.session.work() is False


def test_one_step_of_work_handles_one_long_address_in_utf8(talk):
    """Encoding its domain takes up to a millisecond."""
    subject = talk()
    subject.session.receive(b"EHLO c.test\r\nMAIL FROM:<a@x.test> SMTPUTF8\r\n")
    assert subject.session.work() is False
    subject.session.output.clear()
    subject.session.receive("RCPT TO:<ä@{0}.{0}.test>\r\n".format("ö" * 20).encode() * 3)
    assert subject.session.work() is True
    assert len(subject.session.output) == 1
    assert subject.session.work() is True
    assert subject.session.work() is False
    assert len(subject.session.output) == 3


def test_a_session_that_is_over_is_freed_at_once(talk):
    """Nothing in it refers back to whoever drives it."""
    session = talk().session
    session.receive(START + b"DATA\r\nx")
    session.work()
    gone = weakref.ref(session)
    gc.disable()
    try:
        del session
        assert gone() is None
    finally:
        gc.enable()


def test_input_that_waits_is_joined_once_and_in_order(talk):
    subject = talk()
    first, *more = (b"EHLO c.test\r\nNO", b"OP\r", b"\nHELP\r\nNOO", b"P\r\nQUI", b"T\r\n")
    subject.session.receive(first)
    for octets in more:
        subject.session.receive(octets)
    assert subject.session.buffered == len(first) + sum(map(len, more))
    assert subject.session._input is first
    assert subject.send(b"") == [250, 250, 214, 250, 221]
    assert subject.session.buffered == 0


def test_recipients_past_the_limit_are_not_parsed_and_count_as_errors(talk, monkeypatch):
    subject = talk(SMTP_MAX_RECIPIENTS="2", SMTP_MAX_ERRORS="3")
    assert subject.send(START + b"RCPT TO:<c@y>\r\n")[-1] == 250
    monkeypatch.setattr(envelope, "parse_path", None)
    monkeypatch.setattr(envelope, "_PLAIN_RCPT", None)
    assert subject.send(b"RCPT TO:<d@y> NOTIFY=NEVER\r\n" * 3) == [452, 452, 452, 421]


def test_an_envelope_waits_for_memory_and_gives_it_back(talk):
    subject = talk(SMTP_MAX_RECIPIENTS="1000")
    rcpt = b"RCPT TO:<c@y> ORCPT=rfc822;" + b"x" * 480 + b"\r\n"
    assert set(subject.send(START + rcpt * 60)) == {250}
    assert subject.world.reserved == 0
    subject.world.has_room = False
    answers = subject.send(rcpt * 200)
    assert len(answers) < 100
    assert subject.session.intake.is_starved
    subject.session.granted()
    subject.world.has_room = True
    assert len(answers) + len(subject.send(b"")) == 200
    assert subject.world.reserved > 60_000
    assert subject.session.intake.has_extra_memory
    assert subject.send(b"RSET\r\n") == [250]
    assert subject.world.reserved == 0
    assert not subject.session.intake.has_extra_memory


def test_recipients_of_the_longest_kind_are_bounded_by_memory_too(talk):
    subject = talk(SMTP_MAX_RECIPIENTS="100", SMTP_MAX_ERRORS="1000")
    # One character of four octets makes Python take four for each of them.
    orcpt = "ORCPT=utf-8;\U0001f4e7".encode() + b"x" * 440
    mail = b"EHLO c\r\nMAIL FROM:<a@x> SMTPUTF8\r\n"
    answers = subject.send(mail + (b"RCPT TO:<c@y> " + orcpt + b"\r\n") * 100)
    assert answers.count(452) > 30
    assert subject.session.state.transaction.octets < 103 * 1024


def test_a_body_waits_for_memory(talk):
    subject = talk()
    subject.send(START + b"DATA\r\n")
    subject.world.has_room = False
    assert subject.send(b"x" * 100_000) == []
    assert subject.session.intake.is_starved
    assert subject.send(b"\r\n.\r\n") == []
    subject.session.granted()
    assert subject.send(b"") == [250]
    assert subject.world.reserved == 0


def test_memory_is_given_back_when_the_session_ends(talk):
    subject = talk()
    subject.send(START + b"DATA\r\n" + b"x" * 100_000)
    assert subject.world.reserved
    subject.session.end()
    subject.world.serve()
    assert subject.world.reserved == 0


@pytest.mark.parametrize("octets", [b"RSET\r\n", EHLO, b"BDAT x x\r\n"])
def test_memory_of_chunks_is_given_back_with_the_transaction(talk, octets):
    subject = talk()
    subject.send(START + b"BDAT 100000\r\n" + b"x" * 100_000)
    assert subject.world.reserved
    subject.send(octets)
    assert subject.world.reserved == 0


def test_starttls_forgets_what_was_said_in_clear(talk):
    subject = talk(**TLS)
    subject.world.is_waiting = True
    assert subject.send(START + b"STARTTLS\r\nNOOP\r\n") == [250, 250, 250, 220]
    subject.session.receive(b"EHLO injected\r\n")
    subject.session.tls_begins()
    subject.session.receive(b"DATA\r\n")
    subject.session.tls_started("TLSv1.3 X")
    assert subject.send(b"MAIL FROM:<a@b>\r\n") == [503, 503]
    lines = subject.say(EHLO)
    assert not any("STARTTLS" in line for line in lines)
    assert subject.send(b"STARTTLS\r\nSTARTTLS x\r\n") == [503, 501]


def test_tls_required_refuses_all_but_a_few(talk):
    subject = talk(SMTP_TLS="required", **TLS)
    octets = b"NOOP\r\n" + EHLO + M + b"VRFY x\r\nRSET\r\nBDAT 2 LAST\r\nxxQUIT\r\n"
    assert subject.send(octets) == [250, 250, 530, 530, 530, 530, 221]


AUTH_CASES = {
    "plain": (b"AUTH PLAIN AHUAc2VjcmV0\r\n", [235]),
    "plain with own authzid": (b"AUTH PLAIN dQB1AHNlY3JldA==\r\n", [235]),
    "plain with other authzid": (b"AUTH PLAIN dgB1AHNlY3JldA==\r\n", [535]),
    "plain by challenge": (b"AUTH plain\r\nAHUAc2VjcmV0\r\n", [334, 235]),
    "login": (b"AUTH LOGIN\r\ndQ==\r\nc2VjcmV0\r\n", [334, 334, 235]),
    "login with initial": (b"AUTH LOGIN dQ==\r\nc2VjcmV0\r\n", [334, 235]),
    "login not UTF-8": (b"AUTH LOGIN /w==\r\nc2VjcmV0\r\n", [334, 535]),
    "login without a user": (b"AUTH LOGIN =\r\nc2VjcmV0\r\n", [334, 535]),
    "login of NUL": (b"AUTH LOGIN dQB1\r\nc2VjcmV0\r\n", [334, 535]),
    "plain of CR LF": (b"AUTH PLAIN AHUNCnUAc2VjcmV0\r\n", [535]),
    "plain of C1": (b"AUTH PLAIN AHXChXUAc2VjcmV0\r\n", [535]),
    "no blank but one": (b"AUTH PLAIN\x0bAHUAc2VjcmV0\r\nAUTH\tPLAIN\r\n", [501, 500]),
    "blanks": (b"AUTH  PLAIN \t AHUAc2VjcmV0 \r\n", [235]),
    "wrong then right": (b"AUTH PLAIN AHUAeA==\r\nAUTH PLAIN AHUAc2VjcmV0\r\n", [535, 235]),
    "twice": (b"AUTH PLAIN AHUAc2VjcmV0\r\nRSET\r\nAUTH PLAIN AHUAc2VjcmV0\r\n", [235, 250, 503]),
    "cancelled": (b"AUTH PLAIN\r\n*\r\nNOOP\r\n", [334, 501, 250]),
    "not base64": (b"AUTH PLAIN !!!!\r\nAUTH PLAIN\r\n!!!!\r\nNOOP\r\n", [501, 334, 501, 250]),
    "bare LF in an answer": (b"AUTH PLAIN\r\nAHUA\nNOOP\r\n", [334, 500, 250]),
    "empty initial": (b"AUTH PLAIN =\r\n", [535]),
    "no empty initial later": (b"AUTH PLAIN\r\n=\r\n", [334, 501]),
    "parameter of MAIL": (b"MAIL FROM:<a@b> AUTH=" + b"x" * 500 + b" " * 600 + b"\r\n", [250]),
    "unknown mechanism": (b"AUTH FOO\r\n", [504]),
    "no mechanism": (b"AUTH\r\nAUTH a b c\r\n", [501, 501]),
    "in a transaction": (M + b"AUTH PLAIN AHUAc2VjcmV0\r\n", [250, 503]),
    "long response": (b"AUTH PLAIN " + b"A" * 4000 + b"\r\n", [535]),
}


@pytest.mark.parametrize(("octets", "codes"), AUTH_CASES.values(), ids=AUTH_CASES)
@pytest.mark.parametrize("size", [100_000, 1], ids=["whole", "octets"])
def test_auth(talk, octets, codes, size):
    subject = talk(**AUTH)
    subject.send(EHLO)
    assert subject.in_pieces(octets, size) == codes


def test_auth_is_offered_only_where_it_can_succeed(talk):
    assert any("AUTH PLAIN LOGIN" in line for line in talk(**AUTH).say(EHLO))
    subject = talk(SMTP_AUTH="any", **TLS)
    assert not any("AUTH" in line for line in subject.say(EHLO))
    assert subject.send(b"AUTH PLAIN AHUAc2VjcmV0\r\n") == [538]
    assert talk(**AUTH).send(b"HELO c\r\nAUTH PLAIN AHUAc2VjcmV0\r\n") == [250, 503]


def test_wrong_passwords_end_in_421(talk):
    subject = talk(**AUTH)
    codes = subject.send(EHLO + b"AUTH PLAIN AHUAeA==\r\n" * 50)
    assert codes == [250] + [535] * 5 + [421]


def test_required_auth_is_530_without(talk):
    subject = talk(SMTP_AUTH="required", SMTP_AUTH_USERS="x", SMTP_AUTH_INSECURE="true")
    assert subject.send(EHLO + M + b"VRFY x\r\nNOOP\r\n") == [250, 530, 530, 250]


def test_user_is_in_the_envelope(talk):
    subject = talk(**AUTH)
    subject.send(EHLO + b"AUTH PLAIN AHUAc2VjcmV0\r\n" + M + R + b"DATA\r\n.\r\n")
    assert (subject.world.kept[0][0].user, subject.world.kept[0][0].protocol) == ("u", "ESMTPA")


def test_credentials_hide_the_password(talk):
    from prixfixe.smtp.sasl import Credentials

    assert "secret" not in repr(Credentials("u", b"secret"))
