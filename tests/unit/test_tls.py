"""The serving context, how it is replaced, and the throw-away pair; real handshakes on loopback."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest
import trustme

from prixfixe.tls import certificates as tls
from prixfixe.tls import self_signed as selfsigned
from prixfixe.tls.certificates import CertificateError, CertificateInfo, Certificates, describe
from prixfixe.tls.self_signed import make_pair
from tests.conftest import PATIENCE
from tests.unit.test_reloading import renewed


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def leaf(authority):
    return authority.issue_cert("mail.example.org", "192.0.2.1")


@pytest.fixture(scope="module")
def other(authority):
    return authority.issue_cert("other.example.org")


def put(directory, leaf):
    """Write a pair as certbot and Kubernetes name it; return both paths."""
    directory.mkdir(exist_ok=True)
    cert, key = directory / "tls.crt", directory / "tls.key"
    cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    return str(cert), str(key)


@pytest.fixture
def pair(tmp_path, leaf):
    return put(tmp_path / "pair", leaf)


@contextmanager
def serving(context):
    """Serve TLS on loopback: one echo per connection, whatever goes wrong is the client's."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            try:
                with context().wrap_socket(connection, server_side=True) as secure:
                    secure.sendall(secure.recv(100))
            except OSError:
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def talk(address, client, name="mail.example.org"):
    """Connect, check that octets come back, and return version, cipher and certificate names."""
    with (
        socket.create_connection(address, timeout=PATIENCE) as plain,
        client.wrap_socket(plain, server_hostname=name) as secure,
    ):
        secure.sendall(b"ping")
        assert secure.recv(100) == b"ping"
        names = [value for _, value in secure.getpeercert()["subjectAltName"]]
        return secure.version(), describe(secure), names


def client_of(authority, **attributes):
    client = ssl.create_default_context()
    authority.configure_trust(client)
    for name, value in attributes.items():
        setattr(client, name, value)
    return client


def in_one_exchange(certificates):
    """Return the names a client sees, by a handshake in memory without checks of the issuer."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = certificates.context.wrap_bio(to_server, to_client, server_side=True)
    far = client.wrap_bio(to_client, to_server)
    while not all([tls._has_shaken(far), tls._has_shaken(near)]):
        pass
    return far.getpeercert(binary_form=True)


def test_certificates_serve_a_client_that_trusts_the_issuer(authority, pair):
    certificates = Certificates(*pair)

    with serving(lambda: certificates.context) as address:
        version, text, names = talk(address, client_of(authority))

    assert version == "TLSv1.3"
    assert text.startswith("TLSv1.3 TLS_")
    assert names == ["mail.example.org", "192.0.2.1"]


async def test_certificates_serve_asyncio_streams(authority, pair):
    certificates = Certificates(*pair)

    async def echo(reader, writer):
        writer.write(await reader.readexactly(4))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=certificates.context)
    async with server:
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(),
            ssl=client_of(authority),
            server_hostname="mail.example.org",
        )
        writer.write(b"ping")
        assert await reader.read() == b"ping"
        writer.close()
        await writer.wait_closed()


def test_certificates_tell_names_and_end(authority, tmp_path):
    end = dt.datetime(2049, 12, 31, 23, 59, 58, tzinfo=dt.UTC)
    leaf = authority.issue_cert("a.example", "2001:db8::1", not_after=end)

    info = Certificates(*put(tmp_path, leaf)).info

    assert info.not_after == end.timestamp()
    assert info.names == ("a.example", "2001:DB8:0:0:0:0:0:1")


def test_names_fall_back_to_the_common_name():
    subject = ((("organizationName", "Example"),), (("commonName", "old.example"),))
    assert tls._names({"subject": subject}) == ("old.example",)


def test_certificates_accept_one_file_for_both(authority, tmp_path, leaf):
    path = tmp_path / "both.pem"
    path.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())

    assert Certificates(str(path)).info.names[0] == "mail.example.org"


def test_certificates_serve_an_expired_certificate_and_tell_so(authority, tmp_path):
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    leaf = authority.issue_cert("a.example", not_before=past, not_after=past.replace(month=2))

    assert Certificates(*put(tmp_path, leaf)).info.not_after < time.time()


@pytest.mark.parametrize(
    ("minimum", "offered", "accepted"),
    [
        pytest.param("1.2", ssl.TLSVersion.TLSv1, False, id="1.0 refused"),
        pytest.param("1.2", ssl.TLSVersion.TLSv1_1, False, id="1.1 refused"),
        pytest.param("1.2", ssl.TLSVersion.TLSv1_2, True, id="1.2 accepted"),
        pytest.param("1.2", ssl.TLSVersion.TLSv1_3, True, id="1.3 accepted"),
        pytest.param("1.3", ssl.TLSVersion.TLSv1_2, False, id="1.2 refused where 1.3 is least"),
        pytest.param("1.3", ssl.TLSVersion.TLSv1_3, True, id="1.3 accepted where it is least"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*TLSv1.* is deprecated:DeprecationWarning")
def test_minimum_version_is_held(authority, pair, minimum, offered, accepted):
    certificates = Certificates(*pair, min_version=minimum)
    client = client_of(authority, minimum_version=offered, maximum_version=offered)
    client.set_ciphers("ALL:@SECLEVEL=0")  # Or the client itself refuses the old versions.

    with serving(lambda: certificates.context) as address:
        if accepted:
            assert talk(address, client)[0] == offered.name.replace("_", ".")
            return
        with pytest.raises(ssl.SSLError) as refused:
            talk(address, client)

    assert refused.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"


@pytest.mark.parametrize(
    "cipher",
    ["AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "NULL", "ADH"],
)
def test_ciphers_without_forward_secrecy_or_authentication_are_refused(authority, pair, cipher):
    certificates = Certificates(*pair)
    client = client_of(authority, maximum_version=ssl.TLSVersion.TLSv1_2)
    client.set_ciphers(f"{cipher}:@SECLEVEL=0")

    with serving(lambda: certificates.context) as address, pytest.raises(ssl.SSLError) as refused:
        talk(address, client)

    assert "HANDSHAKE_FAILURE" in refused.value.reason


def test_options_forbid_compression_and_renegotiation_and_prefer_our_order(pair):
    options = Certificates(*pair).context.options

    for option in ("OP_NO_COMPRESSION", "OP_NO_RENEGOTIATION", "OP_CIPHER_SERVER_PREFERENCE"):
        assert options & getattr(ssl, option), option


def resumes(address, client, session):
    """Come again with a session of TLS 1.2; return whether it was taken, and the newest one."""
    with (
        socket.create_connection(address, timeout=10) as plain,
        client.wrap_socket(plain, server_hostname="mail.example.org", session=session) as secure,
    ):
        secure.sendall(b"ping")
        assert secure.recv(100) == b"ping"
        return secure.session_reused, secure.session


@pytest.mark.parametrize("is_self_signed", [False, True])
def test_a_ticket_is_worth_nothing_after_a_day(authority, pair, is_self_signed):
    now = [1000.0]
    given = ("self-signed",) if is_self_signed else pair
    certificates = Certificates(*given, clock=lambda: now[0])
    client = client_of(authority, maximum_version=ssl.TLSVersion.TLSv1_2, check_hostname=False)
    client.verify_mode = ssl.CERT_NONE if is_self_signed else ssl.CERT_REQUIRED
    served = in_one_exchange(certificates)

    with serving(lambda: certificates.context) as address:
        is_reused, session = resumes(address, client, None)
        assert not is_reused
        assert session.has_ticket
        now[0] += 86_399
        assert certificates.poll() is None
        assert resumes(address, client, session)[0]
        now[0] += 1
        assert certificates.poll() is None, "nothing to tell: the pair is the same"
        assert not resumes(address, client, session)[0]

    assert in_one_exchange(certificates) == served


@pytest.mark.parametrize("error", [CertificateError("x"), OSError(28, "No space left")])
def test_a_key_of_tickets_that_could_not_be_thrown_away_is_at_the_next_look(
    pair, monkeypatch, error
):
    now = [1000.0]
    certificates = Certificates(*pair, clock=lambda: now[0])
    before = certificates.context
    now[0] += 86_400
    with monkeypatch.context() as patch:
        patch.setattr(certificates, "_load_pair", Mock(side_effect=error))
        assert certificates.poll() is None
    assert certificates.context is before
    assert certificates.poll() is None
    assert certificates.context is not before


def test_a_pair_that_just_changed_is_not_read_for_the_tickets(pair, other):
    now = [1000.0]
    certificates = Certificates(*pair, clock=lambda: now[0])
    now[0] += 86_400
    put(Path(pair[0]).parent, other)

    assert renewed(certificates) == (True, "")
    assert certificates.info.names == ("other.example.org",)


ENCRYPTED_KEY = """-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGjMF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBCzqJ2SPp3H4MYfJ5nn
-----END ENCRYPTED PRIVATE KEY-----
"""


@pytest.mark.parametrize(
    ("cert", "key", "message"),
    [
        pytest.param(None, "", r"^SMTP_TLS_CERT: cannot read '.*crt': No such file", id="no cert"),
        pytest.param("", None, r"^SMTP_TLS_KEY: cannot read '.*key': No such file", id="no key"),
        pytest.param("no", "", r"^SMTP_TLS_CERT: '.*crt': expected a certificate in", id="text"),
        pytest.param(
            "", "no", r"^SMTP_TLS_KEY: '.*key': expected a private key in PEM", id="text as key"
        ),
        pytest.param("", ENCRYPTED_KEY, r"SMTP_TLS_KEY.*without a passphrase$", id="encrypted key"),
    ],
)
def test_bad_file_is_named_with_its_setting(pair, cert, key, message):
    for path, text in zip(map(Path, pair), (cert, key), strict=True):
        if text is None:
            path.unlink()
        elif text:
            path.write_text(text)

    with pytest.raises(CertificateError, match=message):
        Certificates(*pair)


def test_real_encrypted_key_is_refused_without_asking(pair, leaf, monkeypatch):
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    Path(pair[1]).write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )

    with pytest.raises(CertificateError, match=r"without a passphrase$"):
        Certificates(*pair)


def test_key_of_another_certificate_is_refused(pair, other):
    Path(pair[1]).write_bytes(other.private_key_pem.bytes())

    with pytest.raises(CertificateError, match=r"is not the key of the certificate '.*tls\.crt'$"):
        Certificates(*pair)


def test_directory_is_no_certificate(tmp_path, pair):
    with pytest.raises(CertificateError, match=r"^SMTP_TLS_CERT: cannot read '.*': Is a dir"):
        Certificates(str(tmp_path), pair[1])


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")
@pytest.mark.parametrize(
    ("extra", "message"),
    [
        pytest.param(
            ["-newkey", "rsa:1024"], "is too weak to be served .ee key too small", id="weak key"
        ),
        pytest.param(
            ["-newkey", "rsa:2048", "-addext", "extendedKeyUsage=clientAuth"],
            "cannot serve TLS: ",
            id="certificate of a client",
        ),
    ],
)
def test_unfit_certificate_is_refused(tmp_path, extra, message):
    cert, key = str(tmp_path / "c.pem"), str(tmp_path / "k.pem")
    command = ["openssl", "req", "-x509", "-nodes", "-subj", "/CN=a.example", *extra]
    subprocess.run([*command, "-out", cert, "-keyout", key], check=True, capture_output=True)

    with pytest.raises(CertificateError, match=message):
        Certificates(cert, key)


def test_poll_is_silent_while_nothing_changes(pair):
    certificates = Certificates(*pair)

    assert certificates.poll() is None


def test_poll_takes_a_new_pair_for_new_connections_and_old_ones_live(authority, pair, other):
    certificates = Certificates(*pair)
    client = client_of(authority, check_hostname=False)
    with (
        serving(lambda: certificates.context) as address,
        socket.create_connection(address, timeout=PATIENCE) as plain,
        client.wrap_socket(plain) as running,
    ):
        put(Path(pair[0]).parent, other)

        assert renewed(certificates) == (True, "")
        assert certificates.poll() is None

        running.sendall(b"ping")
        assert running.recv(100) == b"ping"
        running.close()
        assert talk(address, client)[2] == ["other.example.org"]
    assert certificates.info.names == ("other.example.org",)


def test_poll_follows_the_symbolic_link_swap_of_a_mounted_secret(tmp_path, leaf, other):
    put(tmp_path / "v1", leaf)
    put(tmp_path / "v2", other)
    (tmp_path / "..data").symlink_to("v1")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(Path("..data", name))
    certificates = Certificates(str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"))

    (tmp_path / "..new").symlink_to("v2")
    (tmp_path / "..new").rename(tmp_path / "..data")

    assert renewed(certificates).ok
    assert certificates.info.names == ("other.example.org",)


def test_bad_new_pair_keeps_the_old_and_says_why_until_it_is_mended(pair, leaf, other):
    certificates = Certificates(*pair)
    served = in_one_exchange(certificates)
    before = certificates.info
    Path(pair[0]).write_bytes(other.cert_chain_pems[0].bytes())

    result = renewed(certificates)

    assert not result.ok
    assert "is not the key of the certificate" in result.reason
    assert certificates.error == result.reason
    assert (certificates.info, in_one_exchange(certificates)) == (before, served)
    assert certificates.poll() is None  # The same bad pair is not tried again and again.

    put(Path(pair[0]).parent, other)
    assert renewed(certificates).ok
    assert certificates.error == ""


def test_removed_pair_keeps_the_old(pair):
    certificates = Certificates(*pair)
    for path in pair:
        Path(path).unlink()

    assert "No such file" in renewed(certificates).reason
    assert in_one_exchange(certificates)


@pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
def test_file_that_vanishes_while_it_is_loaded_keeps_the_old(pair, monkeypatch, name):
    certificates = Certificates(*pair)
    monkeypatch.setattr(tls, "_require_readable", lambda setting, path: None)
    Path(pair[0]).with_name(name).unlink()

    assert "and its key: No such file" in renewed(certificates).reason
    assert in_one_exchange(certificates)


def test_messages_and_reprs_hold_no_key(pair, leaf):
    secret = leaf.private_key_pem.bytes().decode().splitlines()[1]
    certificates = Certificates(*pair)
    Path(pair[0]).write_text("no")

    shown = f"{certificates!r} {certificates.reload()!r} {make_pair('a.example')!r}"

    assert secret not in shown
    assert "BEGIN" not in shown


def trusting(pair):
    client = ssl.create_default_context(cadata=pair.certificate)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    return client


@pytest.mark.parametrize("name", ["mail.example.org", "localhost", "127.0.0.1", "::1"])
def test_self_signed_pair_verifies_under_each_of_its_names(tmp_path, name):
    pair = make_pair("mail.example.org")
    path = tmp_path / "pair.pem"
    path.write_text("".join(pair))
    certificates = Certificates(str(path))

    with serving(lambda: certificates.context) as address:
        assert talk(address, trusting(pair), name)[0] == "TLSv1.3"
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            talk(address, trusting(pair), "evil.example.org")


@pytest.mark.parametrize(
    ("domain", "names"),
    [
        pytest.param("localhost", ("localhost", "127.0.0.1"), id="no name twice"),
        pytest.param("[192.0.2.1]", ("192.0.2.1", "localhost"), id="address literal"),
        pytest.param("bücher.example", ("xn--bcher-kva.example", "localhost"), id="idn"),
        pytest.param("a." * 60 + "example", ("a." * 60 + "example", "localhost"), id="long"),
    ],
)
def test_self_signed_pair_names_the_domain_first(domain, names):
    info = Certificates("self-signed", domain=domain).info

    assert info.names[:2] == names


def test_self_signed_pair_is_valid_for_thirty_days_also_past_2049(tmp_path):
    now = dt.datetime(2049, 12, 20, tzinfo=dt.UTC).timestamp()
    path = tmp_path / "pair.pem"
    path.write_text("".join(make_pair("a.example", now=now)))

    assert Certificates(str(path)).info.not_after == now + 30 * 86_400


def test_self_signed_pair_depends_on_the_random_source_alone():
    def random(size):
        return b"\x05" * size

    assert make_pair("a.example", now=0, random=random) == make_pair(
        "a.example", now=0, random=random
    )


def test_self_signed_key_is_never_the_same():
    assert len({make_pair("a.example", now=0).key for _ in range(3)}) == 3


def test_self_signed_signature_never_repeats_a_nonce():
    """Two signatures by one key with one nonce would give the key away."""
    points = {selfsigned._sign(1, b"same", os.urandom)[:36] for _ in range(3)}

    assert len(points) == 3


def test_curve_order_leads_to_infinity():
    with pytest.raises(AssertionError, match="never meets infinity"):
        selfsigned._multiply(selfsigned._N, selfsigned._G)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")
def test_self_signed_pair_passes_the_strict_checks_of_openssl(tmp_path):
    path = tmp_path / "pair.pem"
    path.write_text(make_pair("mail.example.org").certificate)
    checks = ["-x509_strict", "-check_ss_sig", "-purpose", "sslserver", "-verify_hostname"]
    command = ["openssl", "verify", *checks, "mail.example.org", "-CAfile", str(path), str(path)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, f"{path}: OK\n"), done.stderr


@pytest.mark.parametrize("has_memfd", [True, False])
def test_self_signed_key_leaves_no_file_behind(tmp_path, monkeypatch, has_memfd):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if not has_memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)

    certificates = Certificates("self-signed", domain="a.example")

    assert in_one_exchange(certificates)
    assert list(tmp_path.iterdir()) == []


def test_self_signed_pair_is_made_anew_by_reload_and_never_by_poll():
    certificates = Certificates("self-signed")
    first = in_one_exchange(certificates)

    assert certificates.poll() is None
    assert in_one_exchange(certificates) == first
    assert certificates.reload().ok
    assert in_one_exchange(certificates) != first
    assert isinstance(certificates.info, CertificateInfo)
