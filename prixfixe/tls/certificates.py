"""The certificate in use as an SSL context, and its reload.

A pair that does not load never replaces one that did, and no message contains key material. An
expired certificate is served, since most senders do not verify it; `info.not_after` reports it.
"""

from __future__ import annotations

import os
import ssl
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from prixfixe.runtime.watch import ReloadResult, Watch, open_plain
from prixfixe.tls.self_signed import make_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prixfixe.tls.self_signed import Pair

__all__ = [
    "SELF_SIGNED",
    "CertificateError",
    "CertificateInfo",
    "Certificates",
    "ReloadResult",
    "describe",
]

SELF_SIGNED = "self-signed"
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# TLS 1.2 with forward secrecy and authenticated encryption (RFC 9325 section 4.2). All suites of
# TLS 1.3 have both.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
# A ticket key decrypts every TLS 1.2 session that has a ticket. A new context has a new key, and a
# key must not live longer than a day (RFC 9325 section 3.4).
_TICKET_SECONDS = 86_400.0
# X509_V_FLAG_NO_CHECK_TIME of OpenSSL: the ssl module has no name for it.
_NO_CHECK_TIME = 0x200000


class CertificateError(Exception):
    """A pair of certificate and key cannot be served; the text names setting, path and reason."""


class CertificateInfo(NamedTuple):
    """Fields of a certificate; `not_after` is in seconds since the epoch."""

    names: tuple[str, ...]
    not_after: float


class Certificates:
    """The certificate and key in use; a reload affects new connections only.

    `cert` may be `self-signed`. Without `key`, the certificate's file must contain the key.

    Raises:
        CertificateError: the first pair cannot be served.

    """

    def __init__(
        self,
        cert: str,
        key: str | None = None,
        *,
        min_version: str = "1.2",
        domain: str = "localhost",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cert = cert
        self._key = key or cert
        self._min_version = _VERSIONS[min_version]
        self._domain = domain
        self._clock = clock
        self._made: Pair | None = None  # the self-signed one
        self._watch = Watch(self._cert, self._key)
        self._context, self._info = self._load()
        self._error = ""

    @property
    def context(self) -> ssl.SSLContext:
        """Return the context for the next connection; ask again for each."""
        return self._context

    @property
    def info(self) -> CertificateInfo:
        """Return names and end of the certificate in use."""
        return self._info

    @property
    def error(self) -> str:
        """Return why the newest pair is not in use, or an empty text."""
        return self._error

    def poll(self) -> ReloadResult | None:
        """Reload if either file changed since the last attempt, else return None."""
        if self._cert != SELF_SIGNED and self._watch.is_due():
            return self.reload()
        if self._clock() - self._loaded_at >= _TICKET_SECONDS and self._watch.is_as_read():
            with suppress(CertificateError, OSError):  # The next poll tries again.
                self._context, self._info = self._load()
        return None

    def reload(self) -> ReloadResult:
        """Use the pair now on disk, or continue with the present one and return why."""
        self._watch.read()
        self._made = None
        try:
            self._context, self._info = self._load()
        except CertificateError as error:
            self._error = str(error)
            return ReloadResult(ok=False, reason=self._error)
        self._error = ""
        return ReloadResult(ok=True)

    def _load(self) -> tuple[ssl.SSLContext, CertificateInfo]:
        if self._cert != SELF_SIGNED:
            _require_readable("SMTP_TLS_CERT", self._cert)
            _require_readable("SMTP_TLS_KEY", self._key)
            loaded = self._load_pair(self._cert, self._key)
        else:
            self._made = self._made or make_pair(self._domain)
            with _private_file("".join(self._made)) as path:
                loaded = self._load_pair(path, path)
        self._loaded_at = self._clock()
        return loaded

    def _load_pair(self, cert: str, key: str) -> tuple[ssl.SSLContext, CertificateInfo]:
        context = _serving_context(self._min_version)
        try:
            client = _inspecting_context(cert)
            _load_chain(context, cert, key)
        except OSError as error:  # The file was removed or protected meanwhile.
            msg = f"SMTP_TLS_CERT: cannot read {cert!r} and its key: {error.strerror}"
            raise CertificateError(msg) from error
        return context, _inspect(context, client, cert)


def describe(connection: ssl.SSLObject | ssl.SSLSocket) -> str:
    """Return TLS version and cipher of a connection, as stored in the envelope."""
    cipher = connection.cipher()
    return f"{connection.version()} {cipher[0] if cipher else ''}".strip()


def _require_readable(setting: str, path: str) -> None:
    try:
        with open_plain(path):
            return
    except OSError as error:
        msg = f"{setting}: cannot read {path!r}: {error.strerror}{_remedy(error)}"
        raise CertificateError(msg) from error


def _remedy(error: OSError) -> str:
    """Return what to do about a file of another user."""
    if not isinstance(error, PermissionError):
        return ""
    user = os.geteuid()
    return (
        f"; the server is user {user}: let it read the file (chown {user}, or chmod a+r), or run"
        " the server as the file's owner (in Docker with --user)"
    )


def _serving_context(min_version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = min_version
    context.set_ciphers(_CIPHERS)
    # Renegotiation costs the server more than the client. Compression leaks lengths (CRIME).
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def _load_chain(context: ssl.SSLContext, cert: str, key: str) -> None:
    try:
        # Without a password, even an empty one, OpenSSL would ask on the terminal and wait.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        raise CertificateError(_chain_trouble(error, cert, key)) from error


def _chain_trouble(error: ssl.SSLError, cert: str, key: str) -> str:
    if error.reason in {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"}:
        return f"SMTP_TLS_KEY: {key!r} is not the key of the certificate {cert!r}"
    if error.reason in {"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"}:
        weakness = error.reason.lower().replace("_", " ")
        return f"SMTP_TLS_CERT: {cert!r} is too weak to be served ({weakness})"
    return f"SMTP_TLS_KEY: {key!r}: expected a private key in PEM without a passphrase"


def _inspecting_context(cert: str) -> ssl.SSLContext:
    """Return a client context that trusts only this certificate, of any issuer and dates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    try:
        context.load_verify_locations(cafile=cert)
    except ssl.SSLError as error:
        msg = f"SMTP_TLS_CERT: {cert!r}: expected a certificate in PEM"
        raise CertificateError(msg) from error
    return context


def _inspect(server: ssl.SSLContext, client: ssl.SSLContext, cert: str) -> CertificateInfo:
    """Do a handshake in memory: only there does the ssl module return a certificate's fields."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = server.wrap_bio(to_server, to_client, server_side=True)
    far = client.wrap_bio(to_client, to_server)
    try:
        while not all([_has_shaken(far), _has_shaken(near)]):
            pass
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason
        msg = f"SMTP_TLS_CERT: {cert!r} cannot serve TLS: {reason}"
        raise CertificateError(msg) from error
    fields = far.getpeercert() or {}
    return CertificateInfo(_names(fields), ssl.cert_time_to_seconds(str(fields["notAfter"])))


def _has_shaken(side: ssl.SSLObject) -> bool:
    with suppress(ssl.SSLWantReadError):
        side.do_handshake()
        return True
    return False


def _names(fields: dict[str, Any]) -> tuple[str, ...]:
    """Return the alternative names, or the common name of a certificate without any."""
    names = tuple(value for _, value in fields.get("subjectAltName", ()))
    if names:
        return names
    return tuple(v for rdn in fields["subject"] for k, v in rdn if k == "commonName")


@contextmanager
def _private_file(text: str) -> Iterator[str]:
    """Yield a path that OpenSSL can open, of a file in memory if the system is Linux."""
    create: Callable[[str], int] | None = getattr(os, "memfd_create", None)
    if create is None or not Path("/proc/self/fd").is_dir():
        with tempfile.NamedTemporaryFile("w") as file:  # mode 0600
            file.write(text)
            file.flush()
            yield file.name
        return
    descriptor = create("prixfixe")
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
