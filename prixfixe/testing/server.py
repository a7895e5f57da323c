"""A server in this process for tests: its own thread and event loop, its store in memory.

It changes nothing of the interpreter: no signal handler, no event loop policy, no logging.
"""

from __future__ import annotations

import asyncio
import shutil
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from prixfixe.settings import SettingsError, load
from prixfixe.testing.environment import Reached, variables
from prixfixe.testing.errors import KitError
from prixfixe.testing.inbox import Inbox
from prixfixe.testing.server_thread import ServerThread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from prixfixe.server.app import Bound
    from prixfixe.settings import Settings
    from prixfixe.testing.access import Access

__all__ = ["Server"]

_SETTINGS = {
    "SMTP_BIND": "127.0.0.1",
    "SMTP_PORT": "0",
    "SMTP_HTTP_BIND": "127.0.0.1",
    "SMTP_HTTP_PORT": "0",
    "SMTP_STORE": "memory:",
    "SMTP_BARE_LF": "accept",
    "SMTP_MAX_CONNECTIONS": "1000",
    "SMTP_MAX_MESSAGE_SIZE": "50MiB",
    "SMTP_SHUTDOWN_TIMEOUT": "1",
    "SMTP_AUTH_MAX_FAILURES": "0",
    "SMTP_FAULTS": "true",
}


class Server:
    """An SMTP server for tests, on free ports of 127.0.0.1; a context manager, sync and async.

    Args:
        tls: True offers STARTTLS and opens `smtps_port` for implicit TLS; "required" also refuses
            mail without TLS. The certificate is made for this server.
        users: names and passwords that may log in.
        auth: "off", "optional", "required", or "any" (accepts every password). With `users`, the
            default is "required".
        settings: further settings of the server, by their names (`SMTP_…`).

    Raises:
        KitError: an argument cannot be used; the text says which.

    """

    def __init__(
        self,
        *,
        tls: bool | str = False,
        users: Mapping[str, str] | None = None,
        auth: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        if tls not in (False, True, "required"):
            raise KitError(f"tls={tls!r}: expected False, True or 'required'")
        self._tls = tls
        self._users = dict(users or {})
        self._auth = auth or ("required" if self._users else "off")
        self._given = dict(settings or {})
        self._folder: Path | None = None
        self._running: ServerThread | None = None

    # --- start and stop

    def start(self) -> Self:
        """Start, and return once every port is open."""
        if self._running is not None:
            raise KitError("the server runs already")
        self._running = ServerThread(self._settings())
        try:
            self._running.start()
        except BaseException:
            self._running = None
            self._remove_folder()
            raise
        return self

    def stop(self) -> None:
        """Stop, and return when no thread, port or file of it is left."""
        running, self._running = self._running, None
        if running is not None:
            running.stop()
        self._remove_folder()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _settings(self) -> Settings:
        try:
            return load({**_SETTINGS, **self._tls_settings(), **self._login(), **self._given})
        except SettingsError as error:
            self._remove_folder()
            raise KitError(str(error)) from None

    def _tls_settings(self) -> dict[str, str]:
        if not self._tls:
            return {}
        from prixfixe.tls.self_signed import make_pair

        pair = make_pair("localhost")
        made = {
            "SMTP_TLS_CERT": str(self._file("cert.pem", pair.certificate)),
            "SMTP_TLS_KEY": str(self._file("key.pem", pair.key)),
            "SMTP_TLS_PORT": "0",
        }
        return made | ({"SMTP_TLS": "required"} if self._tls == "required" else {})

    def _login(self) -> dict[str, str]:
        if self._auth == "off" and not self._users:
            return {}
        made = {"SMTP_AUTH": self._auth}
        if not self._tls:
            made["SMTP_AUTH_INSECURE"] = "true"
        if self._users and self._auth != "any":
            from prixfixe.auth.hashes import hash_password

            hashes = {user: hash_password(word, log_n=4) for user, word in self._users.items()}
            lines = (f"{user}:{code}\n" for user, code in hashes.items())
            made["SMTP_AUTH_USERS"] = str(self._file("users", "".join(lines)))
        return made

    def _file(self, name: str, text: str) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="prixfixe-"))
        path = self._folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def _remove_folder(self) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    # --- where it is

    @property
    def _bound(self) -> Bound:
        return self._started().bound

    def _started(self) -> ServerThread:
        if self._running is None:
            raise KitError("the server does not run: use `with Server() as server:`")
        return self._running

    @property
    def smtp_host(self) -> str:
        """The address of the SMTP listener."""
        return _host(self._bound.smtp)

    @property
    def smtp_port(self) -> int:
        """The port of the SMTP listener."""
        return _port(self._bound.smtp)

    @property
    def smtps_port(self) -> int:
        """The port with implicit TLS. Raises `KitError`: the server has no TLS."""
        smtps = self._bound.smtps
        if smtps is None:
            raise KitError("the server has no TLS: use Server(tls=True)")
        return _port(smtps)

    @property
    def url(self) -> str:
        """The address of the HTTP API and of its page, without a slash at the end."""
        return f"http://{self._bound.http}"

    @property
    def certificate(self) -> Path:
        """The certificate in PEM, which a client may trust as its own authority."""
        if not self._tls or self._folder is None:
            raise KitError("the server has no TLS: use Server(tls=True)")
        return self._folder / "cert.pem"

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """A context for clients that trusts this server's certificate alone."""
        return ssl.create_default_context(cafile=str(self.certificate))

    @property
    def env(self) -> dict[str, str]:
        """The variables in which applications look for their mail server."""
        bound = self._bound
        login = next(iter(self._users.items()), None)
        certificate = str(self.certificate) if self._tls else None
        return variables(
            Reached(
                host=_host(bound.smtp),
                port=_port(bound.smtp),
                url=self.url,
                certificate=certificate,
                login=login,
                token=self.access.api.token,
            )
        )

    @property
    def access(self) -> Access:
        """How an inbox reaches the server."""
        return self._started().access

    def inbox(self, name: str = "inbox") -> Inbox:
        """Return a new inbox; `name` is the local part of its address."""
        return Inbox(self, name)


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
