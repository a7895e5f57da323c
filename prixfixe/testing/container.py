"""A server in a Docker container for tests, by testcontainers; with the same inboxes."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from typing import TYPE_CHECKING, Any

from prixfixe.testing.access import Access
from prixfixe.testing.environment import Reached, variables
from prixfixe.testing.errors import KitError
from prixfixe.testing.inbox import Inbox

try:
    from testcontainers.core.container import DockerContainer
except ImportError as error:  # an extra of this package
    command = f"{shlex.quote(sys.executable)} -m pip install testcontainers"
    raise KitError(f"PrixFixeContainer needs testcontainers: {command}") from error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

__all__ = ["PrixFixeContainer"]

_SMTP, _HTTP = 2525, 8025
_SETTINGS = {"SMTP_STORE": "memory:", "SMTP_FAULTS": "true", "SMTP_BARE_LF": "accept"}
_START_SECONDS = 60.0


class PrixFixeContainer:
    """A container of the image; a context manager.

    Args:
        image: the image's name.
        settings: settings of the server, by their names (`SMTP_…`).
        options: more for testcontainers' `DockerContainer`, such as `network`.

    `container` is testcontainers' own object, for all that it can do before the start.

    """

    def __init__(
        self,
        image: str = "prixfixe",
        *,
        settings: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401 - testcontainers' own
    ) -> None:
        self.container = DockerContainer(image, **options).with_exposed_ports(_SMTP, _HTTP)
        self._token = (settings or {}).get("SMTP_HTTP_TOKEN")
        for name, value in {**_SETTINGS, **(settings or {})}.items():
            self.container.with_env(name, value)
        self._access: Access | None = None

    def start(self) -> Self:
        """Start, and return once the server is ready.

        Raises:
            KitError: it does not become ready; the text has the end of its log.

        """
        self.container.start()
        try:
            self._access = Access.of(self.url, self._token)._replace(is_shared=False)
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def _wait(self) -> None:
        """Ask from here, and not in the container: the ports have to be published too."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.access.api.json("GET", "/readyz")
            except KitError as error:
                is_there = self._is_running()
                if is_there and time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
                why = "is not ready" if is_there else "ended"
                raise KitError(f"the container {why}: {error}\n{self.logs()}") from None
            return

    def _is_running(self) -> bool:
        found = self.container.get_wrapped_container()
        found.reload()
        return bool(found.status in ("created", "running"))

    def stop(self) -> None:
        """Stop and remove the container."""
        if self._access is not None:
            self._access.api.close()
            self._access = None
        self.container.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def access(self) -> Access:
        """How an inbox reaches the server."""
        if self._access is None:
            raise KitError("the container does not run: use `with PrixFixeContainer() as server:`")
        return self._access

    @property
    def smtp_host(self) -> str:
        """Where this machine reaches the container."""
        return str(self.container.get_container_host_ip())

    @property
    def smtp_port(self) -> int:
        """The published port of SMTP."""
        return int(self.container.get_exposed_port(_SMTP))

    @property
    def url(self) -> str:
        """The address of the HTTP API and of its page, without a slash at the end."""
        return f"http://{self.smtp_host}:{int(self.container.get_exposed_port(_HTTP))}"

    @property
    def env(self) -> dict[str, str]:
        """The variables in which applications look for their mail server."""
        return variables(Reached(self.smtp_host, self.smtp_port, self.url, token=self._token))

    def inbox(self, name: str = "inbox") -> Inbox:
        """Return a new inbox; `name` is the local part of its address."""
        return Inbox(self, name)

    def logs(self) -> str:
        """Return the end of what the server logged."""
        with contextlib.suppress(Exception):
            found: bytes = self.container.get_wrapped_container().logs(tail=20)
            return found.decode(errors="replace")
        return ""
