"""SCRAM-SHA-256: the RFC's own exchange, what is refused, and what a stranger can learn."""

import asyncio
import contextlib
from base64 import b64decode, b64encode
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.auth.authenticator import Authenticator, AuthThrottle, Verdict
from prixfixe.auth.hashes import hash_password
from prixfixe.auth.users_file import UsersError, parse_users
from prixfixe.smtp import replies, sasl, scram
from prixfixe.smtp.scram import Challenge, Decoys, make_keys, parse_keys
from prixfixe.verify.dialogue.scram import ScramClient
from tests.support.session_driver import Talk

# RFC 7677 section 3.
SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
PENCIL = scram._derive("pencil", 4096, SALT)
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
NONCE = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
OURS = NONCE.removeprefix("rOprNGfwEbeRWgbNEkqO")
FINAL = f"c=biws,r={NONCE},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=".encode()
STORED = (
    f"SCRAM-SHA-256$4096:{b64encode(SALT).decode()}"
    f"${b64encode(PENCIL.stored).decode()}:{b64encode(PENCIL.server).decode()}"
)
PEER = "192.0.2.1"


def challenge(first=FIRST, keys=PENCIL):
    return Challenge(first, lambda _user: keys, OURS)


# --- the exchange


def test_the_exchange_of_the_rfc():
    exchange = challenge()
    assert exchange.user == "user"
    assert exchange.text == f"r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode()
    assert exchange.answer(FINAL) == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_the_client_of_these_tests_says_what_the_rfc_says():
    client = ScramClient("user", "pencil")
    assert client.first == FIRST
    assert client.final(challenge().text) == FINAL


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"n,,n=user", id="no nonce"),
        pytest.param(b"n,,r=x,n=user", id="order"),
        pytest.param(b"n,,n=,r=x", id="no user"),
        pytest.param(b"p=tls-unique,,n=user,r=x", id="channel binding"),
        pytest.param(b"n,,m=x,n=user,r=x", id="mandatory extension"),
        pytest.param(b"n,a=other,n=user,r=x", id="for another user"),
        pytest.param(b"n,,n=a=b,r=x", id="bare equals sign"),
        pytest.param(b"n,,n=user,r=a b", id="blank in the nonce"),
        pytest.param(b"n,,n=user,r=" + b"x" * 257, id="long nonce"),
        pytest.param(b"n,,n=\xff,r=x", id="not utf-8"),
    ],
)
def test_a_first_message_is_refused(first):
    with pytest.raises(ValueError, match=r"expected|utf-8"):
        challenge(first)


@pytest.mark.parametrize(
    ("first", "user"),
    [
        (b"y,,n=user,r=x", "user"),
        (b"n,a=user,n=user,r=x", "user"),
        (b"n,,n=a=2Cb=3Dc,r=x", "a,b=c"),
        (b"n,a=a=2Cb,n=a=2Cb,r=x", "a,b"),
        (b"n,,n=user,r=x,o=1", "user"),
        ("n,,n=jörg,r=x".encode(), "jörg"),
    ],
)
def test_a_first_message_is_taken_and_its_whole_header_is_bound(first, user):
    exchange = challenge(first)
    assert exchange.user == user
    header, _, bare = first.decode().partition("n=")
    client = ScramClient("user", "pencil", header=header)
    client.bare = "n=" + bare
    assert client.is_server(exchange.answer(client.final(exchange.text)))
    assert (
        exchange.answer(client.final(exchange.text, header="y,," if header != "y,," else "n,,"))
        == b""
    )


@pytest.mark.parametrize(
    "final",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(f"c=biws,r={NONCE}".encode(), id="no proof"),
        pytest.param(f"c=biws,r={NONCE},p=!".encode(), id="no base64"),
        pytest.param(f"c=biws,r={NONCE},p=abcde".encode(), id="cut base64"),
        pytest.param(b"\xff", id="not utf-8"),
    ],
)
def test_a_final_message_is_refused(final):
    with pytest.raises(ValueError, match=r"expected|utf-8"):
        challenge().answer(final)


@pytest.mark.parametrize(
    "final",
    [
        pytest.param(FINAL.replace(b"p=dH", b"p=dI"), id="another proof"),
        pytest.param(FINAL[: FINAL.index(b"p=") + 2] + b"YWJj", id="a short proof"),
        pytest.param(FINAL.replace(b"%hv", b"%hw"), id="another nonce"),
        pytest.param(FINAL.replace(b"biws", b"eSws"), id="another header"),
        pytest.param(FINAL.replace(b",p=", b",x=1,p="), id="an extension that is not signed"),
    ],
)
def test_a_proof_that_does_not_fit_gets_nothing(final):
    assert challenge().answer(final) == b""


def test_a_proof_over_another_nonce_is_no_proof():
    """What was heard of one exchange is worth nothing in the next."""
    exchange = challenge()
    client = ScramClient("user", "pencil")
    overheard = client.final(exchange.text)
    assert exchange.answer(overheard)
    again = Challenge(FIRST, lambda _user: PENCIL)
    assert again.answer(overheard) == b""
    assert again.answer(client.final(again.text, nonce=NONCE)) == b""
    assert again.answer(client.final(again.text))


def test_nonces_never_repeat():
    assert len({Challenge(FIRST, lambda _user: PENCIL).text for _ in range(100)}) == 100


@given(first=st.binary(max_size=80), final=st.binary(max_size=80))
def test_no_octets_do_anything_but_a_refusal(first, final):
    for head in (b"", b"n,,n=", b"y,a=", FIRST[:8]):
        with contextlib.suppress(ValueError):
            challenge(head + first)
    for head in (b"", FINAL[:-10], FINAL[:12], FINAL[: FINAL.index(b"p=") + 2]):
        with contextlib.suppress(ValueError):
            assert challenge().answer(head + final) == b"" or head + final == FINAL


# --- what is stored


def test_made_keys_are_those_of_the_password_alone():
    keys = parse_keys(make_keys("pässword"))
    assert keys.iterations == 131_072
    assert keys.matches("pässword".encode())
    assert not keys.matches(b"password")
    assert not keys.matches(b"\xff")
    client = ScramClient("user", "pässword")
    exchange = challenge(keys=keys)
    assert exchange.answer(client.final(exchange.text))


def test_stored_keys_are_read_as_others_write_them():
    assert parse_keys(STORED) == PENCIL
    assert make_keys("x", random=bytes).startswith("SCRAM-SHA-256$131072:AAAAAAAAAAAAAAAAAAAAAA==$")
    assert parse_keys("$scrypt$x") is None


@pytest.mark.parametrize(
    ("typed", "prepared"),
    [
        pytest.param("I\u00adX", "IX", id="soft hyphen"),
        pytest.param("a\u00a0b", "a b", id="other space"),
        pytest.param("\u2168", "IX", id="compatibility"),
        pytest.param("\u00aa", "a", id="ordinal"),
    ],
)
def test_passwords_are_prepared_as_clients_do(typed, prepared):
    """RFC 4013 section 3."""
    assert scram._prepare(typed) == prepared


@pytest.mark.parametrize("typed", ["", "\u00ad", "a\x07b", "\ue000", "x" * 1025])
def test_a_password_no_client_can_send_is_refused(typed):
    with pytest.raises(ValueError, match="expected a password"):
        make_keys(typed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(STORED.replace("4096", "4095"), "4096 to 2097152 iterations", id="fast"),
        pytest.param(STORED.replace("4096", "9999999"), "4096 to 2097152", id="slow"),
        pytest.param(STORED.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "YWJj"), "salt of 8", id="salt"),
        pytest.param(STORED.rpartition(":")[0] + ":YWJj", "keys of 32 octets", id="key"),
        pytest.param(STORED.replace("gQ==", "g"), "base64", id="not base64"),
    ],
)
def test_stored_keys_that_cannot_be_used_are_refused(text, message):
    with pytest.raises(UsersError, match=f"^line 1: .*{message}") as refused:
        parse_users(f"ann:{text}".encode())
    assert text not in str(refused.value)


def test_keys_show_nothing_of_themselves():
    for text in (repr(PENCIL), str(PENCIL), f"{PENCIL}", repr({"ann": PENCIL})):
        assert "b'" not in text
        assert "scram keys" in text


# --- who may log in


@pytest.fixture
def delays():
    return []


@pytest.fixture
def authenticator(tmp_path, delays):
    async def note(seconds):
        delays.append(seconds)

    path = tmp_path / "users"
    path.write_text(f"ann:{STORED}\n")
    made = Authenticator(str(path), AuthThrottle(lambda: 1.0), sleep=note)
    made.path = path
    yield made
    made.close()


async def prove(authenticator, user, password, peer=PEER):
    exchange = Challenge(f"n,,n={user},r=x".encode(), authenticator.scram_keys())
    client = ScramClient(user, password, nonce="x")
    signature = exchange.answer(client.final(exchange.text))
    return await authenticator.verify_proof(
        user, exchange.keys, is_proven=bool(signature), peer=peer
    )


@pytest.mark.parametrize(
    ("user", "password", "verdict"),
    [
        ("ann", "pencil", Verdict.ACCEPTED),
        ("ann", "pencel", Verdict.REJECTED),
        ("eve", "pencil", Verdict.REJECTED),
    ],
)
async def test_verify_proof_judges(authenticator, user, password, verdict):
    assert await prove(authenticator, user, password) is verdict


async def test_the_same_keys_serve_plain_too(authenticator):
    assert await authenticator.verify("ann", b"pencil") is Verdict.ACCEPTED
    assert await authenticator.verify("ann", b"pencel") is Verdict.REJECTED


async def test_wrong_proofs_are_failures_like_wrong_passwords(authenticator, delays):
    verdicts = [await prove(authenticator, "ann", "guess") for _ in range(50)]
    assert verdicts == [Verdict.REJECTED] * 15 + [Verdict.BLOCKED] * 35
    assert delays[:6] == [0, 0, 0, 1, 2, 4]
    assert await prove(authenticator, "ann", "pencil") is Verdict.BLOCKED
    assert await authenticator.verify("ann", b"pencil", peer=PEER) is Verdict.BLOCKED


async def test_wrong_proofs_side_by_side_are_no_way_around(authenticator):
    verdicts = await asyncio.gather(*(prove(authenticator, "ann", "guess") for _ in range(50)))
    assert verdicts.count(Verdict.REJECTED) == 15


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        (f"ann:{STORED}\n# the same\n", Verdict.ACCEPTED),
        (f"bob:{STORED}\n", Verdict.REJECTED),
        (f"ann:{make_keys('pencil')}\n", Verdict.REJECTED),
    ],
    ids=["still there", "gone", "with other keys"],
)
async def test_users_that_change_during_an_exchange(authenticator, line, verdict):
    keys = authenticator.scram_keys()("ann")
    authenticator.path.write_text(line)
    assert authenticator.reload().ok
    assert await authenticator.verify_proof("ann", keys, is_proven=True) is verdict


def test_it_is_offered_only_when_every_user_has_keys(authenticator):
    assert authenticator.scram_keys() is not None
    authenticator.path.write_text(f"ann:{STORED}\nbob:{hash_password('x')}\n")
    assert authenticator.reload().ok
    assert authenticator.scram_keys() is None
    everybody = Authenticator(None, AuthThrottle(lambda: 1.0))
    assert everybody.scram_keys() is None
    everybody.close()


def test_a_user_that_does_not_exist_is_asked_the_same_every_time(authenticator):
    keys_of = authenticator.scram_keys()
    first, again, other = keys_of("eve"), keys_of("eve"), keys_of("mallory")
    assert first[:2] == again[:2]
    assert first.salt != other.salt != keys_of("ann").salt
    assert (first.iterations, len(first.salt)) == (PENCIL.iterations, len(PENCIL.salt))
    assert authenticator.reload().ok
    assert authenticator.scram_keys()("eve").salt == first.salt


def test_a_decoy_needs_what_no_user_knows_alone():
    """Each can make the keys of his own password."""
    ann, bob, cid = (PENCIL._replace(server=bytes([n]) * 32) for n in range(3))
    salt = Decoys([ann, bob]).keys("eve").salt
    others = ([ann, cid], [cid, bob], [ann], [bob])
    assert salt not in [Decoys(keys).keys("eve").salt for keys in others]
    assert salt == Decoys([ann, bob, cid]).keys("eve").salt


def test_decoys_cost_what_any_of_the_users_may_cost():
    """Else whoever costs something else is known to exist."""
    old = PENCIL._replace(iterations=8192, salt=bytes(12))
    decoys = Decoys([PENCIL, old])
    made = [decoys.keys(f"eve{number}") for number in range(50)]
    assert {(keys.iterations, len(keys.salt)) for keys in made} == {(4096, 16), (8192, 12)}


def test_a_name_is_the_same_however_it_is_composed(authenticator):
    """Else one that exists, which has one salt, differs from one that does not."""
    authenticator.path.write_text(f"jörg:{STORED}\n")
    assert authenticator.reload().ok
    for name in ("jörg", "jürg"):
        composed = {normalize(form, name) for form in ("NFC", "NFD")}
        assert len(composed) == 2
        assert len({authenticator.scram_keys()(each).salt for each in composed}) == 1


async def test_an_exchange_outlives_the_keys_of_all_users(authenticator):
    exchange = sasl.scram(None, authenticator.scram_keys())
    next(exchange)
    authenticator.path.write_text(f"ann:{hash_password('pencil')}\n")
    assert authenticator.reload().ok
    client = ScramClient("ann", "pencil")
    with pytest.raises(StopIteration) as ended:
        exchange.send(client.final(exchange.send(client.first)))
    user, keys, signature = ended.value.value
    assert signature
    assert await authenticator.verify_proof(user, keys, is_proven=True) is Verdict.REJECTED


# --- the session

USERS = {"SMTP_AUTH": "optional", "SMTP_AUTH_USERS": "/x", "SMTP_AUTH_INSECURE": "1"}


@pytest.fixture
def talk():
    talk = Talk(**USERS)
    talk.world.offer_scram(lambda _user: PENCIL)
    assert "250-AUTH PLAIN LOGIN SCRAM-SHA-256" in talk.say(b"EHLO c.test\r\n")
    return talk


def said(lines):
    assert lines[0][:4] == "334 "
    return b64decode(lines[0][4:])


def line(octets):
    return b64encode(octets) + b"\r\n"


def begin(talk, client, *, is_initial=True):
    if is_initial:
        return said(talk.say(b"AUTH SCRAM-SHA-256 " + line(client.first)))
    assert talk.say(b"AUTH scram-sha-256\r\n") == ["334 "]
    return said(talk.say(line(client.first)))


@pytest.mark.parametrize("is_initial", [True, False])
def test_a_client_logs_in_after_it_saw_the_servers_proof(talk, is_initial):
    client = ScramClient("user", "pencil")
    final = client.final(begin(talk, client, is_initial=is_initial))
    assert client.is_server(said(talk.say(line(final))))
    assert talk.session.state.user is None
    assert talk.send(b"\r\n") == [235]
    assert talk.session.state.user == "user"
    assert talk.send(b"AUTH PLAIN AAA=\r\n") == [503]


def test_a_wrong_proof_is_535_and_another_may_follow(talk):
    client = ScramClient("user", "pencel")
    assert talk.send(line(client.final(begin(talk, client)))) == [535]
    assert talk.session.state.failed_logins == 1
    client = ScramClient("user", "pencil")
    assert talk.send(line(client.final(begin(talk, client)))) == [334]


@pytest.mark.parametrize("word", [b"*\r\n", line(b"x"), b"!\r\n"])
def test_a_client_that_does_not_agree_is_not_logged_in(talk, word):
    client = ScramClient("user", "pencil")
    talk.say(line(client.final(begin(talk, client))))
    assert talk.send(word) == [501]
    assert talk.session.state.user is None
    assert talk.send(b"NOOP\r\n") == [250]


@pytest.mark.parametrize(
    "words", [[line(b"n,,n=u")], [line(FIRST), line(b"c=x")], [line(FIRST), b"*\r\n"]]
)
def test_what_is_no_message_is_501(talk, words):
    assert talk.send(b"AUTH SCRAM-SHA-256\r\n") == [334]
    assert [talk.send(word) for word in words][-1] == [501]
    assert talk.send(b"NOOP\r\n") == [250]


def test_nothing_is_said_to_a_client_that_logs_in_while_the_server_stops(talk):
    client = ScramClient("user", "pencil")
    final = client.final(begin(talk, client))
    judge = talk.world.judge

    def stop_first(mechanism, claim):
        talk.session.interrupt(replies.SHUTTING_DOWN)
        judge(mechanism, claim)

    talk.world.judge = stop_first
    assert talk.send(line(final)) == [421]


def test_it_is_unknown_where_not_every_user_has_keys():
    talk = Talk(**USERS)
    assert "250-AUTH PLAIN LOGIN" in talk.say(b"EHLO c.test\r\n")
    assert talk.send(b"AUTH SCRAM-SHA-256 " + line(FIRST)) == [504]
