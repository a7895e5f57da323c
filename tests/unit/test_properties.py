"""Properties of the protocol's parsers and of whole sessions, over what hypothesis thinks of."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from prixfixe.smtp.address import AddressError, parse_path
from prixfixe.smtp.parameters import MAIL_PARAMETERS, parse_parameters
from tests.support.parser_oracle import is_mailbox, judge_parameters, judge_path
from tests.support.session_driver import Talk
from tests.support.session_model import MOVES, SETTINGS, Model, fruitful

# --- addresses: a generator that follows the ABNF; `judging` reads it slowly

ATEXT = "abcXYZ019!#$%&'*+-/=?^_`{|}~é用"
ALNUM = "abcXYZ019é用"
ATOMS = st.lists(st.text(ATEXT, min_size=1, max_size=6), min_size=1, max_size=4)
DOT_STRINGS = ATOMS.map(".".join)
QUOTED = st.lists(
    st.one_of(
        st.sampled_from([*" !#$%&'()*+,-./09:;<=>?@AZ[]^_`az{|}~é"]),
        st.characters(min_codepoint=32, max_codepoint=126).map("\\{}".format),
    ),
    max_size=12,
).map(lambda parts: '"' + "".join(parts) + '"')
LABELS = st.from_regex(rf"\A[{ALNUM}]([{ALNUM}-]{{0,8}}[{ALNUM}])?\Z")
DOMAINS = st.one_of(
    st.lists(LABELS, min_size=1, max_size=5).map(".".join),
    st.ip_addresses(v=4).map("[{}]".format),
    st.ip_addresses(v=6).map("[IPv6:{}]".format),
)
LONG = st.integers(60, 68).map("a".__mul__)
MAILBOXES = st.builds(
    "{}@{}".format,
    st.one_of(DOT_STRINGS, QUOTED, LONG, LONG.map('"{}"'.format)),
    st.one_of(DOMAINS, LONG, st.builds("{0}.{0}.{0}.{1}".format, LONG, LONG)),
)
NOISE = st.text('<>@"\\.,:;[]() \t\r\n\0\x1b\x7f\x85\u2028=?é-aZ9', max_size=30)


@given(MAILBOXES, st.sampled_from(["", " SIZE=1", ">", " "]))
def test_a_legal_mailbox_comes_back_unchanged(mailbox, rest):
    try:
        assert parse_path(f"<{mailbox}>{rest}") == (mailbox, rest)
    except AddressError:
        assert not is_mailbox(mailbox)


@given(
    st.one_of(
        NOISE,
        st.builds("{}{}{}".format, NOISE, MAILBOXES, NOISE),
        st.builds('"{}"@y.test'.format, st.text(' \t\0\né\\a"', max_size=3)),
        st.builds("a@{}".format, NOISE),
    )
)
def test_any_text_is_refused_or_a_mailbox(text):
    judge_path(f"<{text}>")


# --- parameters

XTEXT = st.text("aZ9!*,-<>~+\\{", max_size=10).map(lambda text: text.replace("+", "+2B"))
VALUES = {
    "SIZE": st.integers(0, 10**20 - 1).map(str),
    "BODY": st.sampled_from(["7BIT", "8bitmime"]),
    "SMTPUTF8": st.none(),
    "AUTH": st.one_of(st.just("<>"), XTEXT.filter(bool)),
    "RET": st.sampled_from(["full", "HDRS"]),
    "ENVID": XTEXT.filter(lambda text: 0 < len(text) <= 100),
}
PARAMETERS = st.permutations(list(VALUES)).flatmap(
    lambda names: st.tuples(*[st.tuples(st.just(name), VALUES[name]) for name in names[:4]])
)


@given(PARAMETERS, st.sampled_from([str.upper, str.lower, str.title]))
def test_legal_parameters_are_recorded_as_sent(pairs, case):
    text = "".join(
        " " + case(name) + (f"={value}" if value is not None else "") for name, value in pairs
    )
    assert parse_parameters(text, MAIL_PARAMETERS) == tuple(pairs)


@given(st.text(" =+,;-aZ9é\t\0\u2028SIZERTNOFY", max_size=40))
def test_any_text_is_refused_or_comes_back_as_parameters(text):
    judge_parameters(text)


# --- sessions

ENVELOPE = b"EHLO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\n"
BODIES = st.lists(
    st.sampled_from([b"\r\n", b".", b"a", b"\r", b"\n", b"\r\n..", b"QUIT\r\n"]), max_size=12
)
MESSAGES = st.one_of(
    BODIES.map(lambda parts: ENVELOPE + b"DATA\r\n" + b"".join(parts) + b"\r\n.\r\n"),
    BODIES.map(b"".join).map(
        lambda body: ENVELOPE + b"BDAT %d\r\n%bBDAT 0 LAST\r\n" % (len(body), body)
    ),
    st.just(ENVELOPE),
)
LINES = st.sampled_from(
    [b"EHLO c\r\n", b"MAIL FROM:<a@x>\r\n", b"RCPT TO:<b@y>\r\n", b"DATA\r\n", b".\r\n", b"..\r\n",
     b"BDAT 3\r\n", b"BDAT 7 LAST\r\n", b"x\r\n", b"\r\n", b"\n", b"\r", b"\0", b"RSET\r\n", b"NOOP\r\n",
     b"AUTH PLAIN\r\n", b"*\r\n", b"QUIT\r\n"]
)  # fmt: skip
STREAMS = st.lists(st.one_of(LINES, MESSAGES), max_size=20).map(b"".join)
CUTS = st.lists(st.integers(1, 9), max_size=40)


def pieces(octets, cuts):
    at = 0
    for size in cuts:
        yield octets[at : at + size]
        at += size
    yield octets[at:]


@given(STREAMS, CUTS)
def test_segments_make_no_difference(octets, cuts):
    variables = {"SMTP_AUTH": "any", "SMTP_AUTH_INSECURE": "1", "SMTP_MAX_ERRORS": "1000"}
    whole, cut = Talk(**variables), Talk(**variables)
    said = [line for piece in pieces(octets, cuts) for line in cut.say(piece)]
    assert whole.say(octets) == said
    assert whole.world.kept == cut.world.kept
    assert whole.session.mode is cut.session.mode


class Sessions(RuleBasedStateMachine):
    """Walk through a session in batches; the dialogue must do as the model says."""

    def __init__(self):
        super().__init__()
        self.model = Model()
        self.talk = Talk(
            SMTP_AUTH="any", SMTP_AUTH_INSECURE="1", SMTP_TLS_CERT="self-signed", **SETTINGS
        )
        self.batch, self.due = b"", []

    @rule(data=st.data(), fruitful_ones=st.integers(0, 6), others=st.integers(0, 2), cuts=CUTS)
    def send(self, data, fruitful_ones, others, cuts):
        for number in range(fruitful_ones + others):
            if self.model.is_over:
                break
            names = fruitful(self.model) if number < fruitful_ones else list(MOVES)
            self.move(data.draw(st.sampled_from(names)), cuts)
        self.flush(cuts)

    def move(self, name, cuts):
        octets, codes = MOVES[name](self.model)
        self.batch += octets
        self.due += codes
        if name == "STARTTLS":
            self.flush(cuts)

    def flush(self, cuts):
        octets, due = self.batch, self.due
        self.batch, self.due = b"", []
        said = [code for piece in pieces(octets, cuts) for code in self.talk.send(piece)]
        assert said == due
        kept = [(e.sender, [r.address for r in e.recipients], b) for e, b in self.talk.world.kept]
        assert kept == self.model.kept
        assert self.model.is_over == (self.talk.session.mode.name == "CLOSED")


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=120, stateful_step_count=8)
