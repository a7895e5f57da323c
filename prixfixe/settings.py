"""The settings: one table from which everything that knows a setting is derived.

Owns: names, defaults, parsers, bounds and help of every `SMTP_*` variable; `_FILE` variants; the
errors of a bad start.
Promises: `load` reports every problem at once, each with name, value and what was expected; a
secret's value appears in no message and no repr; nothing is read at import.
Refuses: files other than those a `_FILE` variable names; whether a path or certificate is good is
for the room that opens it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from prixfixe import units

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "TABLE",
    "Problem",
    "Setting",
    "Settings",
    "SettingsError",
    "example",
    "load",
    "sources",
    "warnings",
]

PREFIX = "SMTP_"


class Setting(NamedTuple):
    """One row: the variable, how to read it, its default as text, and what it means."""

    env: str
    parse: Callable[[str], Any]
    default: str
    help: str
    is_secret: bool = False

    @property
    def attribute(self) -> str:
        """The name in `Settings`."""
        return self.env.removeprefix(PREFIX).lower()


TABLE: tuple[Setting, ...] = (
    Setting("SMTP_DOMAIN", units.domain, "localhost", "name in greeting, EHLO and Received"),
    Setting("SMTP_BIND", units.bind, "", "listen address; empty is all addresses, IPv4 and IPv6"),
    Setting("SMTP_PORT", units.port, "2525", "SMTP listener; 0 is any free port"),
    Setting(
        "SMTP_MAX_CONNECTIONS", units.count(1), "100", "concurrent sessions; health probes are free"
    ),
    Setting(
        "SMTP_MAX_CONNECTIONS_PER_IP",
        units.count(0),
        "0",
        "concurrent sessions of one IPv4 address or IPv6 /64; 0 is off",
    ),
    Setting(
        "SMTP_MAX_CONNECTION_RATE",
        units.count(0),
        "0",
        "new connections a minute of one IPv4 address or IPv6 /64; 0 is off",
    ),
    Setting(
        "SMTP_MAX_MESSAGE_SIZE",
        units.size(1024),
        "10485760",
        "octets; advertised in SIZE and enforced",
    ),
    Setting("SMTP_MAX_RECIPIENTS", units.count(1), "100", "recipients of one message"),
    Setting("SMTP_MAX_ERRORS", units.count(1), "20", "refused commands before a session is closed"),
    Setting(
        "SMTP_MAX_INFLIGHT",
        units.size(1024),
        "64MiB",
        "octets of message data held in memory for all sessions together",
    ),
    Setting("SMTP_TIMEOUT", units.duration(0.1), "300", "idle seconds before 421 and close"),
    Setting(
        "SMTP_SHUTDOWN_TIMEOUT",
        units.duration(0),
        "8",
        "seconds that sessions with a message under way get to finish it",
    ),
    Setting(
        "SMTP_RECIPIENTS",
        units.recipients,
        "",
        "allow-list: @example.com, user@example.com, comma separated; empty is any",
    ),
    Setting("SMTP_STRICT", units.boolean, "false", "refuse message lines over 998 octets"),
    Setting(
        "SMTP_TLS",
        units.choice("off", "auto", "required"),
        "auto",
        "off, auto (offer STARTTLS when a certificate is set) or required",
    ),
    Setting(
        "SMTP_TLS_CERT",
        units.optional_text,
        "",
        "path of a PEM certificate chain, or self-signed for development",
    ),
    Setting("SMTP_TLS_KEY", units.optional_text, "", "path of its PEM private key"),
    Setting("SMTP_TLS_PORT", units.optional_port, "off", "implicit-TLS listener; off or a port"),
    Setting(
        "SMTP_TLS_MIN_VERSION", units.choice("1.2", "1.3"), "1.2", "lowest TLS version: 1.2 or 1.3"
    ),
    Setting(
        "SMTP_AUTH",
        units.choice("off", "optional", "required", "any"),
        "off",
        "off, optional, required, or any (accept every credential: development)",
    ),
    Setting(
        "SMTP_AUTH_USERS",
        units.optional_text,
        "",
        "path of a file with user:hash lines (prixfixe hash-password)",
    ),
    Setting("SMTP_AUTH_INSECURE", units.boolean, "false", "allow AUTH without TLS"),
    Setting(
        "SMTP_PROXY_PROTOCOL",
        units.networks,
        "",
        "networks trusted to send PROXY v1 or v2, comma separated; empty is off",
    ),
    Setting(
        "SMTP_STORE",
        units.store_url,
        "sqlite:mail/prixfixe.db",
        "sqlite:PATH, maildir:PATH, memory: or discard:",
    ),
    Setting(
        "SMTP_STORE_MAX_MESSAGES", units.count(0), "0", "keep this many, oldest go first; 0 is all"
    ),
    Setting(
        "SMTP_STORE_MAX_AGE", units.duration(0), "0", "keep this long, such as 7d; 0 is for ever"
    ),
    Setting(
        "SMTP_STORE_MIN_FREE", units.size(0), "64MiB", "below this free space: 452 and not ready"
    ),
    Setting(
        "SMTP_HTTP_BIND",
        units.bind,
        "127.0.0.1",
        "address of health, metrics and API; empty is all (the image's default)",
    ),
    Setting(
        "SMTP_HTTP_PORT", units.optional_port, "8025", "its port; off closes it, 0 is any free port"
    ),
    Setting("SMTP_HTTP_TOKEN", units.optional_text, "", "bearer token for /api", is_secret=True),
    Setting(
        "SMTP_LOG_LEVEL",
        units.choice("debug", "info", "warning", "error", "critical"),
        "info",
        "debug, info, warning, error or critical",
    ),
    Setting(
        "SMTP_LOG_FORMAT",
        units.optional_choice("text", "json"),
        "",
        "text or json; empty is text on a terminal, else json",
    ),
)
_BY_NAME = {setting.env: setting for setting in TABLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective settings; attributes are the variables' names in lower case.

    Sizes are octets, durations seconds. None stands for "off" or "not given".
    """

    domain: str
    bind: str
    port: int
    max_connections: int
    max_connections_per_ip: int
    max_connection_rate: int
    max_message_size: int
    max_recipients: int
    max_errors: int
    max_inflight: int
    timeout: float
    shutdown_timeout: float
    recipients: tuple[str, ...]
    strict: bool
    tls: str
    tls_cert: str | None
    tls_key: str | None
    tls_port: int | None
    tls_min_version: str
    auth: str
    auth_users: str | None
    auth_insecure: bool
    proxy_protocol: tuple[units.Network, ...]
    store: str
    store_max_messages: int
    store_max_age: float
    store_min_free: int
    http_bind: str
    http_port: int | None
    http_token: str | None = field(repr=False)
    log_level: str
    log_format: str | None


class Problem(NamedTuple):
    """One thing wrong: the variable, its value as it may be shown, and what was expected."""

    name: str
    value: str
    expected: str

    def __str__(self) -> str:
        return f"{self.name}={self.value}: expected {self.expected}"


class SettingsError(ValueError):
    """The settings cannot be used; `problems` lists everything that is wrong (exit 2)."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        lines = [f"  {problem}" for problem in problems]
        super().__init__("\n".join(["settings that cannot be used:", *lines]))


def _read_file(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def load(environ: Mapping[str, str], read_file: Callable[[str], str] = _read_file) -> Settings:
    """Read the settings from an environment.

    Raises:
        SettingsError: with every problem there is.

    """
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for setting in TABLE:
        text = _text(setting, environ, read_file, problems)
        try:
            values[setting.attribute] = setting.parse(text)
        except ValueError as error:
            problems.append(Problem(setting.env, _shown(setting, text), str(error)))
    if not problems:
        settings = Settings(**values)
        problems = _cross_checks(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def _shown(setting: Setting, text: str) -> str:
    return "(hidden)" if setting.is_secret and text else repr(text)


def _text(
    setting: Setting,
    environ: Mapping[str, str],
    read_file: Callable[[str], str],
    problems: list[Problem],
) -> str:
    """Return a setting's text from the variable, its file, or the default."""
    path = environ.get(f"{setting.env}_FILE")
    if path is None:
        return environ.get(setting.env, setting.default)
    if setting.env in environ:
        problems.append(
            Problem(f"{setting.env}_FILE", repr(path), f"only one of it and {setting.env}")
        )
        return setting.default
    try:
        return read_file(path).removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        problems.append(
            Problem(f"{setting.env}_FILE", repr(path), f"a file that can be read ({reason})")
        )
        return setting.default


def _cross_checks(s: Settings) -> list[Problem]:
    """Return what is wrong between settings that are each right."""
    has_cert = s.tls_cert is not None
    is_self_signed = s.tls_cert == "self-signed"
    has_clear_route = s.auth_insecure or (has_cert and s.tls != "off")
    rules = (
        (s.tls == "required" and not has_cert, "SMTP_TLS", s.tls, "SMTP_TLS_CERT to be set too"),
        (
            s.tls_port is not None and not has_cert,
            "SMTP_TLS_PORT",
            s.tls_port,
            "SMTP_TLS_CERT to be set too",
        ),
        (
            has_cert and not is_self_signed and s.tls_key is None,
            "SMTP_TLS_CERT",
            s.tls_cert,
            "SMTP_TLS_KEY to be set too",
        ),
        (
            s.tls_key is not None and (not has_cert or is_self_signed),
            "SMTP_TLS_KEY",
            s.tls_key,
            "SMTP_TLS_CERT to be the path of its certificate",
        ),
        (
            s.tls_port not in (None, 0) and s.tls_port == s.port,
            "SMTP_TLS_PORT",
            s.tls_port,
            "another port than SMTP_PORT",
        ),
        (
            s.http_port not in (None, 0) and s.http_port in (s.port, s.tls_port),
            "SMTP_HTTP_PORT",
            s.http_port,
            "another port than the SMTP listeners",
        ),
        (
            s.auth in ("optional", "required") and s.auth_users is None,
            "SMTP_AUTH",
            s.auth,
            "SMTP_AUTH_USERS to be set too",
        ),
        (
            s.auth != "off" and not has_clear_route,
            "SMTP_AUTH",
            s.auth,
            "a certificate (SMTP_TLS_CERT), or SMTP_AUTH_INSECURE=true to allow it in clear",
        ),
        (
            s.max_inflight < s.max_message_size,
            "SMTP_MAX_INFLIGHT",
            s.max_inflight,
            f"at least SMTP_MAX_MESSAGE_SIZE ({s.max_message_size})",
        ),
    )
    return [
        Problem(name, repr(str(value)), expected) for wrong, name, value, expected in rules if wrong
    ]


def warnings(environ: Mapping[str, str]) -> list[str]:
    """Return one sentence for every `SMTP_*` variable that no setting reads."""
    known = {name for setting in TABLE for name in (setting.env, f"{setting.env}_FILE")}
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    return [f"{name} is not a setting{_nearest(name, known)}" for name in unknown]


def _nearest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def sources(environ: Mapping[str, str]) -> dict[str, str]:
    """Return where each setting's value came from: default, environment, or a file's path."""
    return {
        setting.env: "environment"
        if setting.env in environ
        else environ.get(f"{setting.env}_FILE", "default")
        for setting in TABLE
    }


def show(settings: Settings, setting: Setting) -> str:
    """Return a value for people: secrets hidden, lists joined."""
    value = getattr(settings, setting.attribute)
    if setting.is_secret and value:
        return "(hidden)"
    if isinstance(value, tuple):
        return ",".join(str(entry) for entry in value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def example() -> str:
    """Return the text of `.env.example`: every setting, its help and its default."""
    head = [
        "# PrixFixe settings, with their defaults. Copy to .env and change what you need.",
        "# Sizes: octets or 10MiB, 25MB. Durations: seconds or 30s, 5m, 7d.",
        "# NAME_FILE reads the value of NAME from a file.",
    ]
    rows = [f"\n# {setting.help}\n#{setting.env}={setting.default}" for setting in TABLE]
    return "\n".join([*head, *rows, ""])


_missing = {setting.attribute for setting in TABLE} ^ {entry.name for entry in fields(Settings)}
if _missing:  # A row without an attribute, or the other way round, is a defect of this file.
    raise RuntimeError(f"settings table and dataclass differ: {_missing}")
