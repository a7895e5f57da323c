"""Stock aiosmtpd as a target, to show how aiosmtpd behaves without PrixFixe.

Configuration letters become aiosmtpd's own options, and nothing is worked around. The server
process (`python -m tests.conformance.stock CONFIG FILE`) writes the messages of its handler to a
file.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import logging
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conformance.targets import (
    LIMIT_OCTETS,
    PASSWORD,
    SLOWER_THAN_IDLE,
    USER,
    NotOfferedError,
    ProcessServer,
    Server,
    Stored,
    Target,
)

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, AuthResult

__all__ = ["StockTarget"]

TEXT = "no space at /var/mail/secret\r\n250 2.0.0 OK queued as forged"


class StockServer(ProcessServer):
    """An aiosmtpd process and the file its handler writes."""

    def __init__(self, command: list[str], environ: dict[str, str], folder: Path) -> None:
        super().__init__(command, environ, folder)
        self.path = folder / "messages"
        self.offset = 0

    def clear(self) -> None:
        self.offset = self.path.stat().st_size if self.path.exists() else 0

    def messages(self) -> list[Stored]:
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return [self._message(json.loads(line)) for line in file]

    def _message(self, facts: dict[str, Any]) -> Stored:
        body = base64.b64decode(facts.pop("body"))
        # Trace headers are left to handlers.
        return Stored(facts["sender"], tuple(facts["recipients"]), body, None, facts)

    def runs(self, verb: str) -> int:
        return self.logs().count(f"{verb} asked")


class StockTarget(Target):
    """aiosmtpd in a process of its own."""

    name = title = "aiosmtpd"
    version = metadata.version("aiosmtpd")

    def start(self, config: str) -> Server:
        if set(config) & set("SK"):
            raise NotOfferedError(config)
        folder = self.folder / f"{config}-{len(list(self.folder.glob(f'{config}-*')))}"
        certificate, key = self.certificate
        environ = {"CERT": str(certificate), "KEY": str(key)}
        if {"O", "W"} <= set(config):
            environ["SLOW_SECONDS"] = SLOWER_THAN_IDLE
        command = [sys.executable, "-m", "tests.conformance.stock", config]
        return StockServer([*command, str(folder / "messages")], environ, folder)


# --- the process


class Handler:
    """Record messages; be slow, full or choosy as the configuration says."""

    def __init__(self, config: str, path: Path) -> None:
        self.config = config
        self.path = path

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        if "J" in self.config and "bad" in address:
            return "550 no such recipient"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_VRFY(  # noqa: N802
        self, _server: SMTP, _session: Any, _envelope: Any, _address: str
    ) -> str:
        logging.getLogger(__name__).info("VRFY asked")
        return "252 maybe"

    async def handle_DATA(self, _server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
        if "W" in self.config:
            await asyncio.sleep(float(os.environ.get("SLOW_SECONDS", "0.3")))
        if "E" in self.config:
            raise OSError(errno.ENOSPC, "No space left on device", "/var/mail/x")
        if "B" in self.config:
            raise OSError(TEXT)
        record = {
            "sender": envelope.mail_from,
            "recipients": envelope.rcpt_tos,
            "helo": session.host_name,
            "body": base64.b64encode(envelope.original_content).decode(),
        }
        with self.path.open("a", encoding="ascii") as file:
            file.write(json.dumps(record) + "\n")
        return "250 OK"


def _authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> Any:
    from aiosmtpd.smtp import AuthResult

    good = (USER.encode(), PASSWORD.encode())
    result: AuthResult = AuthResult(success=(data.login, data.password) == good, handled=False)
    return result


def _options(config: str) -> dict[str, Any]:
    import ssl

    options: dict[str, Any] = {"hostname": "stock.test", "enable_SMTPUTF8": "U" not in config}
    if set("TRI") & set(config):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.environ["CERT"], os.environ["KEY"])
        options["tls_context"] = context
    if "R" in config:
        options["require_starttls"] = True
    if "Z" in config:
        options["data_size_limit"] = LIMIT_OCTETS
    if "O" in config:
        options["timeout"] = 1.5
    if "A" in config:
        options |= {"auth_require_tls": False, "authenticator": _authenticate}
    return options


async def _serve(config: str, path: Path) -> None:
    from aiosmtpd.smtp import SMTP

    loop = asyncio.get_running_loop()
    options = _options(config)
    handler = Handler(config, path)
    plain = await loop.create_server(lambda: SMTP(handler, **options), "127.0.0.1", 0)
    ports = f"smtp=127.0.0.1:{plain.sockets[0].getsockname()[1]}"
    if "I" in config:
        context = options["tls_context"]
        inside = await loop.create_server(
            lambda: SMTP(handler, **options), "127.0.0.1", 0, ssl=context
        )
        ports += f" smtps=127.0.0.1:{inside.sockets[0].getsockname()[1]}"
    print(f"aiosmtpd ready {ports}", flush=True)  # noqa: T201 - the ready line
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    asyncio.run(_serve(sys.argv[1], Path(sys.argv[2])))
