"""Mail through programs nobody here wrote; every stored octet and the envelope compared."""

import asyncio
import shutil
import smtplib
import subprocess
from email.message import EmailMessage
from email.policy import SMTP

import aiosmtplib
import dkim
import pytest

from tests.conftest import PATIENCE

SENDER, RECIPIENT = "sender@example.com", "rcpt@example.org"


def needs(program):
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed")


def multipart():
    mail = EmailMessage(policy=SMTP)
    mail["Subject"], mail["From"], mail["To"] = "Größe", SENDER, RECIPIENT
    mail.set_content("plain text\n")
    mail.add_alternative("<img src='cid:logo'>", subtype="html")
    mail.get_payload()[1].add_related(bytes(range(256)), "image", "png", cid="<logo>")
    mail.add_attachment(bytes(range(256)) * 40, maintype="application", subtype="zip", filename="ä")
    return mail.as_bytes()


def signed(body):
    """Sign with a throw-away key; return the mail and its public record."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    from base64 import b64encode

    signature = dkim.sign(body, b"sel", b"example.com", pem, include_headers=[b"From", b"Subject"])
    return signature + body, b"v=DKIM1; k=rsa; p=" + b64encode(public)


SHAPES = {
    "plain": b"Subject: x\r\n\r\nhello\r\n",
    "multipart": multipart(),
    "dots": b"Subject: dots\r\n\r\n.\r\n..\r\n...x\r\n .\r\n.end\r\n",
    "latin-1": b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\n\xe4\xf6\xfc\r\n",
    "shift-jis": b"Content-Type: text/plain; charset=shift_jis\r\n\r\n\x93\xfa\x96\x7b\r\n",
    "blank first line": b"\r\nno header\r\n",
    "long line": b"Subject: x\r\n\r\n" + b"x" * 5000 + b"\r\n",
    "only a header": b"Subject: x\r\n",
}


@pytest.fixture(params=["sqlite", "maildir"])
async def server(start, tmp_path, request):
    """A server on a durable store."""
    path = tmp_path / "store"
    return await start(SMTP_STORE=f"{request.param}:{path}")


async def kept(server):
    """Return the one message a server keeps, through the read side anyone can open."""
    from prixfixe.stores.registry import open_reader

    def read():
        reader = open_reader(server.bound.store)
        try:
            names = reader.ids()
            return [reader.get(name) for name in names]
        finally:
            reader.close()

    messages = await asyncio.to_thread(read)
    assert len(messages) == 1
    return messages[0]


async def run(*words, stdin=None):
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(stdin), PATIENCE)
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.mark.parametrize("body", SHAPES.values(), ids=SHAPES)
async def test_smtplib(server, body):
    def send():
        with smtplib.SMTP("127.0.0.1", server.port, timeout=PATIENCE) as smtp:
            options = ["BODY=8BITMIME", "RET=HDRS", "ENVID=e1"]
            smtp.sendmail(SENDER, [RECIPIENT], body, options, ["NOTIFY=NEVER"])

    await asyncio.to_thread(send)
    message = await kept(server)
    assert message.body == body
    assert message.envelope.sender == SENDER
    assert dict(message.envelope.sender_params)["ENVID"] == "e1"
    assert message.envelope.recipients == ((RECIPIENT, (("NOTIFY", "NEVER"),)),)


@pytest.mark.parametrize("body", SHAPES.values(), ids=SHAPES)
async def test_aiosmtplib(server, body):
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=server.port) as smtp:
        await smtp.sendmail(SENDER, [RECIPIENT], body, mail_options=["BODY=8BITMIME"])
    assert (await kept(server)).body == body


async def test_aiosmtplib_many_recipients_null_sender_and_utf8(start, tmp_path):
    server = await start(SMTP_STORE=f"sqlite:{tmp_path}/x.db")
    recipients = [f"user{n}@example.org" for n in range(100)]
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=server.port) as smtp:
        await smtp.sendmail("", recipients, b"Subject: bounce\r\n\r\n")
    message = await kept(server)
    assert message.envelope.sender == ""
    assert [one.address for one in message.envelope.recipients] == recipients
    await server.server.store.delete(None)
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=server.port) as smtp:
        options = ["SMTPUTF8", "BODY=8BITMIME"]
        await smtp.sendmail(
            "jürgen@bücher.example", ["用户@例え.example"], b"\r\n", mail_options=options
        )
    message = await kept(server)
    assert message.envelope.sender == "jürgen@bücher.example"
    assert message.envelope.recipients[0].address == "用户@例え.example"
    assert message.envelope.protocol == "UTF8SMTP"


async def test_nine_mebibytes(server):
    body = b"Subject: big\r\n\r\n" + (bytes(range(32, 127)) + b"\r\n") * 98_000
    assert len(body) > 9 * 1024 * 1024
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=server.port, timeout=60) as smtp:
        await smtp.sendmail(SENDER, [RECIPIENT], body)
    assert (await kept(server)).body == body


async def test_one_octet_over_the_limit_is_552_and_the_connection_lives(start):
    server = await start(SMTP_MAX_MESSAGE_SIZE="20000")
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=server.port) as smtp:
        body = b"x" * 998 + b"\r\n"
        await smtp.sendmail(SENDER, [RECIPIENT], body * 20)
        with pytest.raises(aiosmtplib.SMTPException, match=r"5\.3\.4") as caught:
            await smtp.sendmail(SENDER, [RECIPIENT], body * 20 + b"\r\n")
        assert "552" in str(caught.value) or getattr(caught.value, "code", 0) == 552
        await smtp.rset()
        await smtp.sendmail(SENDER, [RECIPIENT], b"small\r\n")
    assert [len(message.body) for message in server.messages] == [20000, 7]


async def test_a_signature_still_verifies_after_raw(start, tmp_path):
    import httpx

    server = await start(SMTP_STORE=f"sqlite:{tmp_path}/x.db", SMTP_HTTP_PORT="0")
    mail, record = signed(multipart())
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=server.port) as smtp:
        await smtp.sendmail(SENDER, [RECIPIENT], mail)
    async with httpx.AsyncClient() as client:
        raw = (await client.get(f"{server.http}/api/v1/message/latest/raw")).content
    assert dkim.verify(raw, dnsfunc=lambda *_, **__: record)
    assert not dkim.verify(raw.replace(b"plain", b"PLAIN"), dnsfunc=lambda *_, **__: record)


@needs("curl")
async def test_curl(server, tmp_path):
    (tmp_path / "mail").write_bytes(SHAPES["multipart"])
    url = f"smtp://127.0.0.1:{server.port}/client.example"
    await run(
        "curl", "--silent", "--show-error", "--url", url, "--mail-from", SENDER,
        "--mail-rcpt", RECIPIENT, "--upload-file", str(tmp_path / "mail"),
    )  # fmt: skip
    message = await kept(server)
    assert message.body == SHAPES["multipart"]
    assert message.envelope.helo == "client.example"


@needs("swaks")
async def test_swaks(server):
    await run(
        "swaks", "--server", f"127.0.0.1:{server.port}", "--from", SENDER, "--to", RECIPIENT,
        "--helo", "client.example", "--header", "Subject: from swaks", "--body", "hello", "--silent", "2",
    )  # fmt: skip
    message = await kept(server)
    assert b"Subject: from swaks\r\n" in message.body
    assert message.body.rstrip().endswith(b"hello")
    assert message.envelope.recipients == ((RECIPIENT, ()),)


def has_swaks_tls():
    if not shutil.which("swaks"):
        return False
    probe = subprocess.run(["swaks", "--support"], capture_output=True, text=True, check=False)
    return "TLS not available" not in probe.stdout + probe.stderr


@pytest.mark.skipif(not has_swaks_tls(), reason="swaks with TLS is not installed")
async def test_swaks_with_tls_and_auth(start, tmp_path):
    from prixfixe.auth.hashes import hash_password

    users = tmp_path / "users"
    users.write_text(f"alice:{hash_password('secret')}\n")
    server = await start(
        SMTP_TLS_CERT="self-signed", SMTP_TLS="required", SMTP_AUTH="required",
        SMTP_AUTH_USERS=str(users), SMTP_STORE=f"sqlite:{tmp_path}/x.db",
    )  # fmt: skip
    words = ["--server", f"127.0.0.1:{server.port}", "--from", SENDER, "--to", RECIPIENT, "--tls"]
    await run(
        "swaks", *words, "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "secret",
        "--silent", "2",
    )  # fmt: skip
    envelope = (await kept(server)).envelope
    assert (envelope.user, envelope.protocol) == ("alice", "ESMTPSA")
    assert not any("secret" in line or "YWxpY2U" in line for line in server.records())


@needs("msmtp")
async def test_msmtp(server):
    await run(
        "msmtp", "--host=127.0.0.1", f"--port={server.port}", f"--from={SENDER}", "--tls=off",
        "--auth=off", "--domain=client.example", RECIPIENT, stdin=SHAPES["dots"].replace(b"\r\n", b"\n"),
    )  # fmt: skip
    message = await kept(server)
    assert message.body.endswith(SHAPES["dots"].partition(b"\r\n\r\n")[2])
    assert message.envelope.helo == "client.example"


@needs("smtp-source")
async def test_smtp_source_exactly_once(server):
    await run(
        "smtp-source", "-s", "10", "-m", "200", "-l", "2000", "-f", SENDER, "-t", RECIPIENT,
        f"127.0.0.1:{server.port}",
    )  # fmt: skip
    from prixfixe.stores.registry import open_reader

    reader = open_reader(server.bound.store)
    try:
        assert reader.totals().messages == 200
        assert len(set(reader.ids())) == 200
    finally:
        reader.close()


def test_the_programs_that_are_here_are_named(record_property):
    """Leave in the report what was spoken to."""
    for program in ("curl", "swaks", "msmtp", "smtp-source"):
        record_property(program, shutil.which(program) or "not installed")
