"""TLS and logins through programs nobody here wrote, and what a scanner would find."""

import asyncio
import json
import shutil
import smtplib
import ssl

import aiosmtplib
import pytest
import trustme

from prixfixe.auth.hashes import hash_password
from prixfixe.smtp.scram import make_keys
from tests.integration.test_clients import RECIPIENT, SENDER, has_swaks_tls, needs, run
from tests.support import tls_probe as offered

USER, PASSWORD = "alice", "correct horse"
BODY = b"Subject: x\r\n\r\nhello\r\n"


class Secured:
    """A server with a certificate that `authority` vouches for, and one user."""

    def __init__(self, folder):
        ca = trustme.CA()
        pair = ca.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.RSA)
        self.authority = str(folder / "ca")
        ca.cert_pem.write_to_path(self.authority)
        pair.cert_chain_pems[0].write_to_path(folder / "cert")
        pair.private_key_pem.write_to_path(folder / "key")
        (folder / "users").write_text(f"{USER}:{hash_password(PASSWORD)}\n")
        self.variables = {
            "SMTP_TLS_CERT": str(folder / "cert"),
            "SMTP_TLS_KEY": str(folder / "key"),
            "SMTP_TLS": "required",
            "SMTP_TLS_PORT": "0",
            "SMTP_AUTH": "required",
            "SMTP_AUTH_USERS": str(folder / "users"),
        }

    @property
    def context(self):
        return ssl.create_default_context(cafile=self.authority)


@pytest.fixture
async def secured(start, tmp_path):
    made = Secured(tmp_path)
    made.running = await start(**made.variables)
    made.port = made.running.port
    made.tls_port = int(made.running.bound.smtps.rpartition(":")[2])
    yield made
    records = "\n".join(made.running.records())
    assert PASSWORD not in records


def check_kept(secured, body=BODY):
    (message,) = secured.running.messages
    envelope = message.envelope
    assert (envelope.user, envelope.protocol) == (USER, "ESMTPSA")
    assert envelope.tls.startswith("TLSv1.")
    assert body in message.body


@pytest.mark.parametrize("is_implicit", [False, True], ids=["starttls", "implicit"])
async def test_smtplib(secured, is_implicit):
    def send():
        if is_implicit:
            smtp = smtplib.SMTP_SSL(
                "localhost", secured.tls_port, context=secured.context, timeout=20
            )
        else:
            smtp = smtplib.SMTP("localhost", secured.port, timeout=20)
            smtp.starttls(context=secured.context)
        with smtp:
            smtp.login(USER, PASSWORD)
            smtp.sendmail(SENDER, [RECIPIENT], BODY)

    await asyncio.to_thread(send)
    check_kept(secured)


@pytest.mark.parametrize("is_implicit", [False, True], ids=["starttls", "implicit"])
async def test_aiosmtplib(secured, is_implicit):
    smtp = aiosmtplib.SMTP(
        hostname="localhost",
        port=secured.tls_port if is_implicit else secured.port,
        use_tls=is_implicit,
        start_tls=not is_implicit,
        tls_context=secured.context,
    )
    async with smtp:
        await smtp.login(USER, PASSWORD)
        await smtp.sendmail(SENDER, [RECIPIENT], BODY)
    check_kept(secured)


@needs("curl")
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_curl(secured, tmp_path, scheme, mechanism):
    (tmp_path / "mail").write_bytes(BODY)
    port = secured.tls_port if scheme == "smtps" else secured.port
    await run(
        "curl", "--silent", "--show-error", "--ssl-reqd", "--cacert", secured.authority,
        "--url", f"{scheme}://localhost:{port}/client.example", "--user", f"{USER}:{PASSWORD}",
        "--login-options", f"AUTH={mechanism}", "--mail-from", SENDER, "--mail-rcpt", RECIPIENT,
        "--upload-file", str(tmp_path / "mail"),
    )  # fmt: skip
    check_kept(secured)


@pytest.mark.skipif(not has_swaks_tls(), reason="swaks with TLS is not installed")
@pytest.mark.parametrize("way", ["--tls", "--tls-on-connect"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_swaks(secured, way, mechanism):
    port = secured.port if way == "--tls" else secured.tls_port
    await run(
        "swaks", "--server", f"127.0.0.1:{port}", way, "--tls-ca-path", secured.authority,
        "--auth", mechanism, "--auth-user", USER, "--auth-password", PASSWORD,
        "--from", SENDER, "--to", RECIPIENT, "--body", "hello", "--silent", "2",
    )  # fmt: skip
    check_kept(secured, b"hello")


@pytest.fixture
async def proven(secured, tmp_path):
    """The same server, whose users have keys for SCRAM."""
    (tmp_path / "users").write_text(f"{USER}:{make_keys(PASSWORD)}\n")
    await secured.running.server.reload()
    return secured


def logged_in_by(secured):
    counts = secured.running.server.metrics.series()["auth_attempts"].counts
    return {mechanism for (mechanism, result), count in counts.items() if count}


def msmtp(secured, password):
    return [
        "msmtp", "--host=localhost", f"--port={secured.port}", f"--from={SENDER}", "--tls=on",
        "--tls-starttls=on", f"--tls-trust-file={secured.authority}", "--auth=scram-sha-256",
        f"--user={USER}", f"--passwordeval=printf '%s' '{password}'", RECIPIENT,
    ]  # fmt: skip


@needs("msmtp")
async def test_msmtp_by_scram(proven):
    await run(*msmtp(proven, PASSWORD), stdin=BODY.replace(b"\r\n", b"\n"))
    check_kept(proven, b"hello")
    assert logged_in_by(proven) == {"SCRAM-SHA-256"}


@needs("msmtp")
async def test_msmtp_by_scram_with_a_wrong_password(proven):
    with pytest.raises(AssertionError, match="535"):
        await run(*msmtp(proven, "wrong"), stdin=b"x\n")
    assert proven.running.messages == []
    assert [json.loads(one)["reason"] for one in proven.running.records() if "refused" in one]


@needs("gsasl")
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN", "LOGIN"])
async def test_gsasl(proven, mechanism):
    answer = await run(
        "gsasl", "--smtp", f"--connect=localhost:{proven.port}", "--mechanism", mechanism,
        f"--authentication-id={USER}", f"--authorization-id={USER}", f"--password={PASSWORD}",
        f"--x509-ca-file={proven.authority}", "--no-cb", stdin=b"",
    )  # fmt: skip
    assert "235" in answer or "authenticated" in answer.lower()
    assert logged_in_by(proven) == {mechanism}


async def test_smtplib_by_plain_where_users_have_scram_keys(proven):
    def send():
        with smtplib.SMTP("localhost", proven.port, timeout=20) as smtp:
            smtp.starttls(context=proven.context)
            smtp.login(USER, PASSWORD)
            assert "SCRAM-SHA-256" in smtp.esmtp_features["auth"]
            smtp.sendmail(SENDER, [RECIPIENT], BODY)

    await asyncio.to_thread(send)
    check_kept(proven)


@needs("openssl")
@pytest.mark.parametrize("is_implicit", [False, True], ids=["starttls", "implicit"])
@pytest.mark.parametrize("check", offered.ALL, ids=[one.__name__ for one in offered.ALL])
async def test_what_is_offered(secured, check, is_implicit):
    port = secured.tls_port if is_implicit else secured.port
    where = offered.Where(port, is_implicit, secured.authority)
    await asyncio.to_thread(check, where)


def test_the_programs_that_are_here_are_named(record_property):
    for program in ("curl", "swaks", "openssl", "msmtp", "gsasl"):
        record_property(program, shutil.which(program) or "not installed")
