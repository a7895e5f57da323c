"""The address of a database: `//USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?NAME=VALUE`.

The password is in no repr and in no text made here. Names and values are those of libpq's URIs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode

__all__ = ["Address", "FileError", "Host", "parse"]

DEFAULT_PORT = 5432
_TLS = frozenset(
    (
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslpassword"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version", "passfile"),
    )
)
_FILES = frozenset(("sslrootcert", "sslcert", "sslkey", "sslcrl"))
# PrixFixe asks every host for the primary itself: a URL that works elsewhere works here.
_IGNORED = frozenset(("target_session_attrs", "connect_timeout", "load_balance_hosts"))
_SERVER = frozenset(("search_path", "application_name"))
_OWN = frozenset(("host", "port", "user", "password", "dbname", "index"))


class FileError(OSError):
    """A file that the address names cannot be read."""


class Host(NamedTuple):
    """One server: a name, an address or the folder of a socket; and its port."""

    name: str
    port: int

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """All hosts, and what each is told. None is what the environment says (PGUSER, PGPASSWORD…).

    `tls` are parameters of libpq for TLS and the password file; `server` are settings of the
    session; `index` is a file for the search index of this server.
    """

    hosts: tuple[Host, ...]
    user: str | None
    password: str | None = field(repr=False)
    database: str | None
    tls: tuple[tuple[str, str], ...] = field(repr=False)
    server: tuple[tuple[str, str], ...]
    index: str | None

    def uri(self) -> str:
        """Return a URI without hosts, user and password, for the driver to read the rest from."""
        return f"postgresql://?{urlencode(self.tls, quote_via=quote)}"

    def require_files(self) -> None:
        """See that the files for TLS can be read: the driver names none. Raises `FileError`."""
        for name, value in self.tls:
            if name in _FILES:
                try:
                    Path(value).open("rb").close()
                except OSError as error:
                    msg = f"{name}={value}: {error.strerror}"
                    raise FileError(msg) from None

    def __str__(self) -> str:
        return f"{','.join(map(str, self.hosts))}/{self.database or ''}"


def parse(rest: str) -> Address:
    """Return what follows `postgresql:` taken apart.

    Raises:
        ValueError: it is not such an address.

    """
    if not rest.startswith("//"):
        raise ValueError("expected //USER@HOST/DATABASE")
    text, _, query = rest[2:].partition("?")
    who, at, where = text.rpartition("@")
    hosts, _, database = where.partition("/")
    given = _parameters(query)
    user, colon, password = who.partition(":")
    return Address(
        hosts=_hosts(given.get("host", hosts), given.get("port", "")),
        user=unquote(user) or None if at else given.get("user"),
        password=unquote(password) if colon else given.get("password"),
        database=unquote(database) or given.get("dbname"),
        tls=tuple((name, value) for name, value in given.items() if name in _TLS),
        server=tuple((name, value) for name, value in given.items() if name in _SERVER),
        index=given.get("index"),
    )


def _parameters(query: str) -> dict[str, str]:
    given = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    unknown = sorted(set(given) - _TLS - _IGNORED - _SERVER - _OWN)
    if unknown:
        known = ", ".join(sorted(_TLS | _SERVER | _OWN))
        msg = f"unknown parameter {', '.join(unknown)}; expected {known}"
        raise ValueError(msg)
    return given


def _hosts(text: str, ports: str) -> tuple[Host, ...]:
    names = text.split(",")
    numbers = ports.split(",") if ports else [""]
    if len(numbers) == 1:
        numbers *= len(names)
    return tuple(_host(name, port) for name, port in zip(names, numbers, strict=True))


def _host(text: str, port: str) -> Host:
    name, colon, number = text.rpartition(":")
    if text.endswith("]") or text.startswith("/") or not colon or unquote(text).startswith("/"):
        name, number = text, port
    name = unquote(name).removeprefix("[").removesuffix("]")
    if not name:
        raise ValueError("expected the name of a host")
    at = int(number or port or DEFAULT_PORT)
    if not 0 < at < 65536:
        raise ValueError("expected a port")
    return Host(name, at)
