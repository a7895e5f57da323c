"""Password hashes, the users file, the check off the loop, and patience with guessers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
import threading
from pathlib import Path

import pytest

from prixfixe.auth import authenticator as auth
from prixfixe.auth.authenticator import Authenticator, AuthThrottle, Verdict
from prixfixe.auth.hashes import composed, hash_password, parse_hash, prepare
from prixfixe.auth.users_file import Users, UsersError, parse_users
from tests.conftest import PATIENCE, until
from tests.unit.test_reloading import renewed

# "secret" at a cost that a test can pay: hashlib.scrypt with N=2^4, r=1, p=1.
CHEAP = "$scrypt$ln=4,r=1,p=1$c2FsdHNhbHRzYWx0$VksxEyLHoBsoqwp29L/oQ8BWi1hZ2hT5s5wlYZjhgeA"


def cheap_hash(password):
    """Return a stored hash whose check costs next to nothing."""
    digest = hashlib.scrypt(password.encode(), salt=b"saltsaltsalt", n=16, r=1, p=1, dklen=32)
    code = base64.b64encode(digest).decode().rstrip("=")
    return f"$scrypt$ln=4,r=1,p=1$c2FsdHNhbHRzYWx0${code}"


# "secret" as htpasswd -B -C 4 writes it.
HTPASSWD = "$2y$04$abcdefghijklmnopqrstuuGZHlEMQzPFM.BLc9AAHvcAmBUcW6c.u"
PEER = "192.0.2.1"


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def users_file(tmp_path):
    path = tmp_path / "users"
    path.write_text(f"# who may send\n\nann:{CHEAP}\nbob:{CHEAP}\n")
    return path


@pytest.fixture
def delays():
    """The seconds replies were held back; the tests do not wait for them."""
    return []


@pytest.fixture
def throttle(clock):
    return AuthThrottle(clock)


@pytest.fixture
def authenticator(users_file, throttle, delays):
    async def note(seconds):
        delays.append(seconds)

    made = Authenticator(str(users_file), throttle, sleep=note)
    yield made
    made.close()


class Gate:
    """A stored hash whose check ends when the test says so."""

    def __init__(self):
        self.opened = threading.Event()
        self.calls = []

    def matches(self, password):
        self.calls.append(threading.current_thread().name)
        assert self.opened.wait(PATIENCE)
        return password == b"secret"


@pytest.fixture
def gate(authenticator):
    gate = Gate()
    authenticator._users = Users({"ann": gate})
    yield gate
    gate.opened.set()


# --- hashes


def test_hash_password_makes_a_text_that_matches_it_alone():
    text = hash_password("pässword")

    assert text.startswith("$scrypt$ln=14,r=8,p=5$")
    assert parse_hash(text).matches("pässword".encode())
    assert not parse_hash(text).matches(b"password")


def test_hash_password_salts_with_sixteen_random_octets():
    texts = [hash_password("x", random=lambda size: bytes([7]) * size) for _ in range(2)]

    assert texts[0] == texts[1] != hash_password("x")
    assert len(parse_hash(texts[0]).salt) == 16


def test_hash_password_refuses_the_empty_password():
    with pytest.raises(ValueError, match="a password that is not empty"):
        hash_password("")


@pytest.mark.parametrize(
    ("typed", "hashed"),
    [
        pytest.param(b"Secret 1", b"Secret 1", id="ascii stays"),
        pytest.param("e\u0301".encode(), "\xe9".encode(), id="composed"),
        pytest.param("a\u00a0\u3000b".encode(), b"a  b", id="spaces of other scripts"),
        pytest.param("\uff21".encode(), "\uff21".encode(), id="no compatibility mapping"),
        pytest.param(b"caf\xe9", b"caf\xe9", id="not utf-8 stays"),
    ],
)
def test_prepare_normalises_as_opaque_string(typed, hashed):
    assert prepare(typed) == hashed


def test_prepare_leaves_alone_what_would_take_long():
    """Sorting marks that compose takes time that grows with the square of their number."""
    marks = "\u0300\u0316".encode()
    assert prepare(marks * 200) != marks * 200
    assert prepare(marks * 3000) == marks * 3000
    assert composed("\u0300\u0316" * 3000) == "\u0300\u0316" * 3000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("secret", "expected a hash from `prixfixe hash-password`", id="plain text"),
        pytest.param("$apr1$x$y", "expected a hash from", id="md5 of htpasswd"),
        pytest.param("$2y$04$short", "expected a hash from", id="cut bcrypt"),
        pytest.param(CHEAP.replace("ln=4", "ln=17,r=8"), "expected a hash from", id="odd"),
        pytest.param(
            CHEAP.replace("ln=4,r=1", "ln=17,r=8"), "at most 64 MiB", id="too much memory"
        ),
        pytest.param(CHEAP.replace("p=1", "p=17"), "p of at most 16", id="too parallel"),
        pytest.param(CHEAP.replace("p=1", "p=0"), "costs of at least 1", id="no lane"),
        pytest.param(CHEAP.replace("ln=4", "ln=0"), "costs of at least 1", id="no rounds"),
        pytest.param(CHEAP.replace("c2FsdHNhbHRzYWx0", "c2E"), "salt of 8 octets", id="salt"),
        pytest.param(CHEAP[:-31], "digest of 16 to 64", id="cut digest"),
        pytest.param(CHEAP.replace("c2FsdHNhbHRzYWx0", "abcde"), "base64", id="not base64"),
        pytest.param(HTPASSWD.replace("$04", "$16"), "cost from 4 to 15", id="bcrypt too slow"),
    ],
)
def test_parse_hash_refuses(text, message):
    with pytest.raises(ValueError, match=message) as refused:
        parse_hash(text)
    assert text not in str(refused.value)


def test_parse_hash_reads_htpasswd_lines():
    bcrypt = pytest.importorskip("bcrypt")
    made = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()

    for prefix in ("$2b$", "$2y$"):
        secret = parse_hash(prefix + made[4:])
        assert secret.matches(b"secret")
        assert not secret.matches(b"Secret")
        assert not secret.matches(b"x" * 100)


def test_parse_hash_compares_the_octets_bcrypt_counts():
    bcrypt = pytest.importorskip("bcrypt")
    made = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()

    assert parse_hash(made).matches(b"x" * 80)


def test_bcrypt_without_the_package_tells_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "bcrypt", None)

    with pytest.raises(UsersError, match=r"^line 1: a bcrypt hash needs .*pip install bcrypt"):
        parse_users(f"ann:{HTPASSWD}".encode())


# --- the users file


def test_parse_users_skips_comments_and_blanks_and_takes_any_line_end():
    users = parse_users(f" # note\r\n\r\n ann:{CHEAP} \r\nj\u0308:{CHEAP}".encode())

    assert list(users) == ["ann", "j\u0308"]


def test_parse_users_skips_the_mark_that_editors_of_windows_write():
    assert list(parse_users(f"\ufeffann:{CHEAP}\r\n".encode())) == ["ann"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"", "expected at least one line `user:hash`", id="empty"),
        pytest.param(b"# only\n", "expected at least one line `user:hash`", id="only comments"),
        pytest.param(b"\nann\n", "^line 2: expected `user:hash`$", id="no colon"),
        pytest.param(b":x\n", "^line 1: expected `user:hash`$", id="no user"),
        pytest.param(b"ann:pw\n", "^line 1: expected a hash from", id="no hash"),
        pytest.param(b"ann:\xff\n", "^line 1: expected UTF-8$", id="not utf-8"),
        pytest.param(
            f"ann:{CHEAP}\n#\nann:{CHEAP}".encode(),
            "^line 3: user 'ann' has a line already$",
            id="twice",
        ),
        pytest.param(
            f"\xe9:{CHEAP}\ne\u0301:{CHEAP}".encode(), "^line 2: user", id="twice, normalised"
        ),
    ],
)
def test_parse_users_names_the_bad_line(text, message):
    with pytest.raises(UsersError, match=message):
        parse_users(text)


def test_start_names_setting_path_and_line(tmp_path, throttle):
    path = tmp_path / "users"
    with pytest.raises(UsersError, match=r"^SMTP_AUTH_USERS: cannot read '.*': No such file"):
        Authenticator(str(path), throttle)

    path.write_text("ann:pw")
    with pytest.raises(UsersError, match=r"^SMTP_AUTH_USERS: '.*users': line 1: expected a hash"):
        Authenticator(str(path), throttle)


def test_start_refuses_an_endless_file(throttle):
    with pytest.raises(UsersError, match="'/dev/zero': not a regular file"):
        Authenticator("/dev/zero", throttle)


def test_start_refuses_a_file_that_is_too_large(throttle, tmp_path):
    path = tmp_path / "users"
    with path.open("wb") as file:
        file.truncate(2**24 + 1)
    with pytest.raises(UsersError, match="expected a file of at most 16777216 bytes"):
        Authenticator(str(path), throttle)


async def test_reload_takes_new_users_and_forgets_the_old(authenticator, users_file):
    assert authenticator.poll() is None
    assert await authenticator.verify("ann", b"secret") is Verdict.ACCEPTED

    users_file.write_text(f"eve:{CHEAP}\n")

    assert renewed(authenticator).ok
    assert authenticator.poll() is None
    assert await authenticator.verify("ann", b"secret") is Verdict.REJECTED
    assert await authenticator.verify("eve", b"secret") is Verdict.ACCEPTED


async def test_bad_reload_keeps_the_old_users_and_says_why(authenticator, users_file):
    users_file.write_text("ann\n")

    result = renewed(authenticator)

    assert (result.ok, authenticator.error) == (False, result.reason)
    assert "line 1: expected `user:hash`" in result.reason
    assert authenticator.poll() is None
    assert await authenticator.verify("ann", b"secret") is Verdict.ACCEPTED

    users_file.write_text(f"ann:{CHEAP}\n")
    assert renewed(authenticator).ok
    assert authenticator.error == ""


# --- the check


@pytest.mark.parametrize(
    ("user", "password", "verdict"),
    [
        pytest.param("ann", b"secret", Verdict.ACCEPTED, id="right"),
        pytest.param("ann", b"Secret", Verdict.REJECTED, id="wrong"),
        pytest.param("ann", b"", Verdict.REJECTED, id="empty"),
        pytest.param("Ann", b"secret", Verdict.REJECTED, id="other case"),
        pytest.param("eve", b"secret", Verdict.REJECTED, id="right for others"),
        pytest.param("", b"secret", Verdict.REJECTED, id="nobody"),
        pytest.param("\udcff", b"secret", Verdict.REJECTED, id="surrogate"),
        pytest.param("ann", b"\xff" * 4096, Verdict.REJECTED, id="long octets"),
    ],
)
async def test_verify_judges(authenticator, user, password, verdict):
    assert await authenticator.verify(user, password, peer=PEER) is verdict


async def test_any_mode_accepts_every_credential_and_reads_nothing(throttle):
    authenticator = Authenticator(None, throttle)

    assert await authenticator.verify("who", b"ever", peer=PEER) is Verdict.ACCEPTED
    assert authenticator.poll() is None
    assert authenticator.reload().ok
    authenticator.close()


async def test_check_runs_off_the_loop(authenticator, gate):
    login = asyncio.create_task(authenticator.verify("ann", b"secret"))
    await until(lambda: gate.calls)  # the loop goes on while the check does not

    assert gate.calls[0].startswith("auth")
    gate.opened.set()
    assert await login is Verdict.ACCEPTED


async def test_unknown_user_costs_a_check_of_a_real_hash(authenticator, gate):
    gate.opened.set()

    assert await authenticator.verify("nobody", b"secret") is Verdict.REJECTED
    assert len(gate.calls) == 1


async def test_verified_password_is_not_checked_again_but_others_are(authenticator, gate):
    gate.opened.set()
    for _ in range(5):
        assert await authenticator.verify("ann", b"secret") is Verdict.ACCEPTED
    assert len(gate.calls) == 1

    assert await authenticator.verify("ann", b"Secret") is Verdict.REJECTED
    assert await authenticator.verify("ann", b"Secret") is Verdict.REJECTED
    assert len(gate.calls) == 3


async def test_password_verified_against_replaced_users_is_not_remembered(authenticator, gate):
    login = asyncio.create_task(authenticator.verify("ann", b"secret"))
    await until(lambda: gate.calls)
    assert authenticator.reload().ok
    gate.opened.set()
    await login

    assert authenticator._users.verified == {}


async def test_checks_beyond_the_queue_are_unavailable_at_once(authenticator, gate):
    logins = [asyncio.create_task(authenticator.verify("ann", b"secret")) for _ in range(32)]
    await until(lambda: len(gate.calls) == 2)  # two threads, no more

    assert await authenticator.verify("ann", b"secret") is Verdict.UNAVAILABLE
    gate.opened.set()
    assert set(await asyncio.gather(*logins)) == {Verdict.ACCEPTED}
    assert await authenticator.verify("ann", b"secret") is Verdict.ACCEPTED


async def test_client_that_hangs_up_keeps_its_place_and_its_failure(authenticator, gate, throttle):
    login = asyncio.create_task(authenticator.verify("ann", b"guess", peer=PEER))
    await until(lambda: gate.calls)
    login.cancel()
    with pytest.raises(asyncio.CancelledError):
        await login

    assert len(authenticator._pending) == 1
    gate.opened.set()
    await until(lambda: not authenticator._pending)
    assert throttle._failures[PEER][0] == 1


async def test_check_that_cannot_be_made_is_unavailable_and_no_failure(authenticator, throttle):
    class Broken:
        def matches(self, password):
            raise MemoryError

    authenticator._users = Users({"ann": Broken()})

    assert await authenticator.verify("ann", b"secret", peer=PEER) is Verdict.UNAVAILABLE
    assert throttle._failures == {}


async def test_closed_authenticator_is_unavailable(authenticator):
    authenticator.close()

    assert await authenticator.verify("ann", b"secret") is Verdict.UNAVAILABLE


# --- patience


async def test_fifty_wrong_passwords_never_reach_fifty_checks(authenticator, gate, delays):
    gate.opened.set()

    verdicts = [await authenticator.verify("ann", b"guess", peer=PEER) for _ in range(50)]

    assert len(gate.calls) == 15
    assert verdicts == [Verdict.REJECTED] * 15 + [Verdict.BLOCKED] * 35
    assert delays == [0, 0, 0, 1, 2, 4, 8, 16, 16, 16, 16, 16, 16, 16, 16]


async def test_guesses_side_by_side_are_no_way_around(authenticator, gate):
    gate.opened.set()
    guesses = [authenticator.verify("ann", b"guess", peer=PEER) for _ in range(32)]

    verdicts = await asyncio.gather(*guesses)

    assert verdicts.count(Verdict.REJECTED) <= 16  # the other thread may be at one
    assert verdicts.count(Verdict.BLOCKED) >= 16


async def test_blocked_network_is_not_heard_even_with_the_right_password(
    authenticator, throttle, clock
):
    for _ in range(15):
        throttle.failed("2001:db8::1")

    assert await authenticator.verify("ann", b"secret", peer="2001:db8::2") is Verdict.BLOCKED
    assert await authenticator.verify("ann", b"secret", peer="2001:db8:0:1::") is Verdict.ACCEPTED
    clock.now += 600
    assert await authenticator.verify("ann", b"secret", peer="2001:db8::2") is Verdict.ACCEPTED


async def test_a_login_known_from_a_blocked_network_is_heard_there(authenticator, throttle):
    await authenticator.verify("ann", b"secret", peer=PEER)
    await authenticator.verify("ann", b"secret", peer="198.51.100.9")
    for _ in range(15):
        throttle.failed(PEER)
        throttle.failed("203.0.113.7")

    assert await authenticator.verify("ann", b"secret", peer=PEER) is Verdict.ACCEPTED
    assert await authenticator.verify("ann", b"wrong", peer=PEER) is Verdict.BLOCKED
    assert await authenticator.verify("ann", b"secret", peer="203.0.113.7") is Verdict.BLOCKED
    authenticator.reload()
    assert await authenticator.verify("ann", b"secret", peer=PEER) is Verdict.BLOCKED


@pytest.mark.parametrize("off", [{"max_failures": 0}, {"seconds": 0.0}], ids=str)
def test_the_lock_out_can_be_off_and_replies_are_held_back_all_the_same(clock, off):
    told = []
    throttle = AuthThrottle(clock, on_lockout=lambda *what: told.append(what), **off)
    for _ in range(50):
        throttle.failed(PEER)
    assert not throttle.is_blocked(PEER)
    assert throttle.delay_seconds(PEER) == 16.0
    assert told == []


def test_the_lock_out_has_count_and_time_of_its_settings_and_is_told_once(clock):
    told = []
    tell = lambda *what: told.append(what)  # noqa: E731
    throttle = AuthThrottle(clock, max_failures=2, seconds=30.0, on_lockout=tell)
    throttle.failed("2001:db8::1")
    assert not throttle.is_blocked("2001:db8::2")
    for _ in range(3):
        throttle.failed("2001:db8::1")
    assert throttle.is_blocked("2001:db8::2")
    assert told == [("2001:db8::/64", 2, 30.0)]
    clock.now += 30
    assert not throttle.is_blocked("2001:db8::2")


def test_places_that_are_remembered_are_bounded(authenticator):
    for n in range(10_010):
        authenticator._remember("ann", f"10.0.{n >> 8}.{n & 255}")
    assert len(authenticator._places) == 10_000


async def test_success_does_not_clear_failures(authenticator, throttle):
    for _ in range(4):
        throttle.failed(PEER)

    assert await authenticator.verify("ann", b"secret", peer=PEER) is Verdict.ACCEPTED

    assert throttle.delay_seconds(PEER) == 1.0


def test_throttle_forgets_ten_minutes_after_the_last_failure(throttle, clock):
    for _ in range(4):
        throttle.failed(PEER)
    clock.now += 599
    assert throttle.delay_seconds(PEER) == 1.0
    throttle.failed(PEER)
    clock.now += 599
    assert throttle.delay_seconds(PEER) == 2.0
    clock.now += 1
    assert throttle.delay_seconds(PEER) == 0.0
    throttle.failed(PEER)
    assert throttle._failures[PEER][0] == 1


def test_throttle_memory_is_bounded_and_drops_what_is_over(throttle, clock):
    for n in range(10_050):
        throttle.failed(f"10.0.{n >> 8}.{n & 255}")
    assert len(throttle._failures) == 10_000

    clock.now += 600
    throttle.failed(PEER)

    assert list(throttle._failures) == [PEER]


# --- secrets


def test_reprs_show_no_secret(authenticator):
    digest = CHEAP.rpartition("$")[2]
    shown = " ".join(
        repr(item)
        for item in (authenticator, authenticator._users, parse_hash(CHEAP), *vars(auth).values())
    )

    assert digest not in shown
    assert repr(parse_hash(CHEAP).digest) not in shown


def test_bcrypt_repr_shows_no_secret():
    pytest.importorskip("bcrypt")

    assert repr(parse_hash(HTPASSWD)) == "<bcrypt hash>"


def test_error_messages_show_no_hash(tmp_path, throttle):
    path = Path(tmp_path, "users")
    path.write_text(f"ann:{CHEAP}x$y")

    with pytest.raises(UsersError) as refused:
        Authenticator(str(path), throttle)

    cause = refused.value
    while cause is not None:
        assert "scrypt$" not in str(cause)
        cause = cause.__cause__
