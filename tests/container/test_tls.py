"""TLS and logins of a container whose certificate and users are mounted, and change while it runs."""

import base64
import smtplib
import ssl
import subprocess

import pytest
import trustme

from prixfixe.auth.hashes import hash_password
from prixfixe.verify.dialogue.scram import ScramClient
from tests.container.talk import Crowd, body_of, deliver
from tests.container.waiting import eventually
from tests.integration.test_clients import has_swaks_tls, needs
from tests.support import tls_probe as offered

USER = "alice@example.com"
HASHES = {word: hash_password(word) for word in ("correct horse", "battery staple")}
OLD, NEW = HASHES
PORTS = (2525, 8025, 2465)
HELD = {
    "SMTP_TLS": "required",
    "SMTP_TLS_CERT": "/run/secrets/cert.pem",
    "SMTP_TLS_KEY": "/run/secrets/key.pem",
    "SMTP_TLS_PORT": "2465",
    "SMTP_AUTH": "required",
    "SMTP_AUTH_USERS": "/run/secrets/users",
}


class Secrets:
    """A folder that is mounted as a whole: what replaces a file in it is seen inside."""

    def __init__(self, folder):
        self.folder = folder / "secrets"
        self.folder.mkdir(mode=0o755)
        self.authority = trustme.CA()
        self.issue()
        self.allow(OLD)

    def put(self, name, octets):
        """Replace a file at once, as tools that rotate do."""
        new = self.folder / f".{name}"
        new.write_bytes(octets)
        new.chmod(0o644)
        new.replace(self.folder / name)

    def issue(self, **validity):
        """Write a new pair; return the certificate as clients see it."""
        pair = self.authority.issue_cert(
            "localhost", "127.0.0.1", key_type=trustme.KeyType.RSA, **validity
        )
        chain = pair.cert_chain_pems[0].bytes()
        self.put("cert.pem", chain)
        self.put("key.pem", pair.private_key_pem.bytes())
        return ssl.PEM_cert_to_DER_cert(chain.decode())

    def allow(self, word):
        self.put("users", f"{USER}:{HASHES[word]}\n".encode())

    @property
    def trust(self):
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    @property
    def options(self):
        return {
            "volumes": {str(self.folder): {"bind": "/run/secrets", "mode": "ro"}},
            "ports": PORTS,
        }


@pytest.fixture
def secrets(tmp_path):
    return Secrets(tmp_path)


@pytest.fixture
def box(start, secrets):
    """A server that demands TLS and a login, with room to check passwords in."""
    return start(HELD, mem_limit="128m", **secrets.options)


def plain(word):
    return b"AUTH PLAIN " + base64.b64encode(f"\0{USER}\0{word}".encode()) + b"\r\n"


def secured(box, trust, *, is_implicit=False):
    """Open a connection inside TLS, up to the answer to EHLO."""
    wire = box.connect(2465 if is_implicit else 2525)
    if not is_implicit:
        wire.reply()
        assert wire.ask(b"EHLO client.test\r\n") == [250]
        assert wire.ask(b"STARTTLS\r\n") == [220]
    wire.start_tls(trust)
    if is_implicit:
        wire.reply()
    assert wire.ask(b"EHLO client.test\r\n") == [250]
    return wire


def logged_in(box, trust, word=OLD, *, is_implicit=False):
    wire = secured(box, trust, is_implicit=is_implicit)
    assert wire.ask(plain(word)) == [235]
    return wire


def served(box, trust):
    with secured(box, trust) as wire:
        return wire.socket.getpeercert(binary_form=True)


# --- what is offered


@pytest.mark.parametrize("is_implicit", [False, True], ids=["starttls", "implicit"])
@pytest.mark.parametrize("check", offered.ALL, ids=[one.__name__ for one in offered.ALL])
def test_only_modern_tls_is_offered(box, secrets, tmp_path, check, is_implicit):
    authority = tmp_path / "ca"
    secrets.authority.cert_pem.write_to_path(authority)
    port = box.address(2465 if is_implicit else 2525)[1]
    check(offered.Where(port, is_implicit, str(authority)))


def test_nothing_but_tls_and_a_login_leads_to_mail(box, secrets):
    with box.hello() as wire:
        assert wire.ask(b"MAIL FROM:<a@x.test>\r\n") == [530]
        assert wire.ask(plain(OLD)) == [530]
    with secured(box, secrets.trust) as wire:
        assert wire.ask(b"MAIL FROM:<a@x.test>\r\n") == [530]
        assert wire.ask(b"STARTTLS\r\n")[0] in (502, 503)


@pytest.mark.parametrize("is_implicit", [False, True], ids=["starttls", "implicit"])
def test_the_standard_library_logs_in_and_sends(box, secrets, is_implicit):
    host, port = box.address(2465 if is_implicit else 2525)
    if is_implicit:
        client = smtplib.SMTP_SSL("localhost", port, context=secrets.trust, timeout=20)
    else:
        client = smtplib.SMTP(host, port, timeout=20)
        client.starttls(context=secrets.trust)
    with client as smtp:
        smtp.login(USER, OLD)
        smtp.sendmail("a@x.test", ["b@y.test"], "Subject: x\r\n\r\nhello\r\n")
    facts = box.messages()[0].facts
    assert facts["TLS"].startswith("TLSv1.")
    assert USER in facts.values()
    assert OLD not in box.logs()


def swaks(host, port, way, authority):
    return [
        "swaks", "--server", f"{host}:{port}", way, "--tls-ca-path", authority,
        "--auth", "LOGIN", "--auth-user", USER, "--auth-password", OLD,
        "--from", "a@x.test", "--to", "b@y.test", "--body", "hello", "--silent", "2",
    ]  # fmt: skip


def curl(_host, port, way, authority):
    scheme = "smtp" if way == "--tls" else "smtps"
    return [
        "curl", "--silent", "--show-error", "--ssl-reqd", "--cacert", authority,
        "--url", f"{scheme}://localhost:{port}/client.example", "--user", f"{USER}:{OLD}",
        "--mail-from", "a@x.test", "--mail-rcpt", "b@y.test", "--upload-file", "-",
    ]  # fmt: skip


CLIENTS = [
    pytest.param(curl, marks=needs("curl")),
    pytest.param(
        swaks, marks=pytest.mark.skipif(not has_swaks_tls(), reason="swaks with TLS is missing")
    ),
]


@pytest.mark.parametrize("way", ["--tls", "--tls-on-connect"])
@pytest.mark.parametrize("client", CLIENTS)
def test_programs_nobody_here_wrote_log_in_and_send(box, secrets, tmp_path, client, way):
    authority = tmp_path / "ca"
    secrets.authority.cert_pem.write_to_path(authority)
    host, port = box.address(2525 if way == "--tls" else 2465)
    command = client(host, port, way, str(authority))
    subprocess.run(
        command, input=b"Subject: x\r\n\r\nhello\r\n", timeout=30, check=True, capture_output=True
    )
    (message,) = box.messages()
    assert message.facts["TLS"].startswith("TLSv1.")
    assert USER in message.facts.values()
    assert OLD not in box.logs()


# --- what changes


def test_certificates_rotate_under_load_and_no_session_is_lost(box, secrets):
    trust, seen = secrets.trust, set()
    is_implicit = iter([False, True] * 2)
    with Crowd(lambda: logged_in(box, trust, is_implicit=next(is_implicit)), 4, each=60) as crowd:
        for _ in range(3):
            issued = secrets.issue()
            assert eventually(
                lambda issued=issued: served(box, trust) == issued, what="the new pair"
            )
            seen.add(issued)
        ledger = crowd.join()
    assert (crowd.errors, ledger.refused, ledger.unanswered) == ([], [], [])
    assert len(ledger.acknowledged) == 4 * 60
    ledger.settle(box.messages())
    assert len(seen) == 3


def test_a_bad_pair_keeps_the_old_one_and_is_not_ready_until_mended(box, secrets):
    box.is_trouble_expected = True  # it logs an error, as it should
    trust = secrets.trust
    before = served(box, trust)
    secrets.put("cert.pem", b"no certificate\n")
    eventually(lambda: box.http("/readyz").status == 503, what="not ready")
    assert not box.http("/readyz").json["checks"]["tls"]["ok"]
    assert served(box, trust) == before
    after = secrets.issue()
    eventually(lambda: box.http("/readyz").status == 200, what="ready again")
    assert served(box, trust) == after


def test_users_rotate_while_it_runs(box, secrets):
    trust = secrets.trust
    with logged_in(box, trust) as wire:
        secrets.allow(NEW)
        eventually(lambda: box.logged("reloaded"), what="the new users")
        deliver(wire, body_of(100))
    with secured(box, trust) as wire:
        assert wire.ask(plain(OLD)) == [535]
        assert wire.ask(plain(NEW)) == [235]


def test_scram_logs_in_once_every_user_has_keys(box, secrets):
    made = box.python(
        "import sys; from prixfixe.smtp.scram import make_keys; print(make_keys(sys.argv[1]))", OLD
    )
    secrets.put("users", f"{USER}:{made.strip()}\n".encode())
    eventually(lambda: box.logged("reloaded"), what="the new users")
    client = ScramClient(USER, OLD)
    with secured(box, secrets.trust) as wire:
        question = challenged(wire, b"AUTH SCRAM-SHA-256 " + base64.b64encode(client.first))
        final = challenged(wire, base64.b64encode(client.final(question)))
        assert client.is_server(final)
        assert wire.ask(b"\r\n") == [235]
        deliver(wire, body_of(100))
    (message,) = box.messages()
    assert USER in message.facts.values()


def challenged(wire, line):
    """Say something and return what the server then asks."""
    wire.send(line + b"\r\n")
    code, _, text = wire.reply().rstrip().partition(b" ")
    assert code == b"334"
    return base64.b64decode(text)


# --- guessing


def test_a_session_that_guesses_is_told_421_long_before_fifty(box, secrets):
    answers = []
    with secured(box, secrets.trust) as wire:
        while 421 not in answers and len(answers) < 50:
            answers += wire.ask(plain("wrong"))
    assert answers[-1] == 421
    assert set(answers[:-1]) == {535}
    assert len(answers) < 10
