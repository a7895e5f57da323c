"""The table of settings: names, parsers, defaults and help; and the record of their values.

Every list of settings is derived from the table. The repr of `Settings` hides secrets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from prixfixe.settings import parse

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PREFIX", "TABLE", "Setting", "Settings"]

PREFIX = "SMTP_"


class Setting(NamedTuple):
    """One row: the variable, its parser, its default as text, and its meaning.

    Few users need an advanced setting: documents list it last, and docker-compose.yml does not pass
    it on.
    """

    env: str
    parse: Callable[[str], Any]
    default: str
    help: str
    is_secret: bool = False
    is_advanced: bool = False

    @property
    def attribute(self) -> str:
        """The name in `Settings`."""
        return self.env.removeprefix(PREFIX).lower()


TABLE: tuple[Setting, ...] = (
    Setting("SMTP_DOMAIN", parse.domain, "localhost", "name in greeting, EHLO and Received"),
    Setting("SMTP_BIND", parse.bind, "", "listen address; empty is all addresses, IPv4 and IPv6"),
    Setting("SMTP_PORT", parse.port, "2525", "SMTP listener; 0 is any free port"),
    Setting(
        "SMTP_MAX_CONNECTIONS", parse.count(1), "100", "concurrent sessions; health probes are free"
    ),
    Setting(
        "SMTP_MAX_CONNECTIONS_PER_IP",
        parse.count(0),
        "0",
        "concurrent sessions of one IPv4 address or IPv6 /64; 0 is off",
    ),
    Setting(
        "SMTP_MAX_CONNECTION_RATE",
        parse.count(0),
        "0",
        "new connections a minute of one IPv4 address or IPv6 /64; 0 is off",
    ),
    Setting(
        "SMTP_MAX_MESSAGE_SIZE",
        parse.size(1024),
        "10485760",
        "bytes; advertised in SIZE and enforced",
    ),
    Setting("SMTP_MAX_RECIPIENTS", parse.count(1), "1000", "recipients of one message"),
    Setting(
        "SMTP_MAX_MESSAGES",
        parse.count(0),
        "0",
        "messages of one session, then 421; 0 is any number",
    ),
    Setting("SMTP_MAX_ERRORS", parse.count(1), "20", "refused commands before a session is closed"),
    Setting(
        "SMTP_MAX_INFLIGHT",
        parse.size(1024),
        "64MiB",
        "bytes of message data held in memory for all sessions together",
    ),
    Setting("SMTP_TIMEOUT", parse.duration(0.1), "300", "idle seconds before 421 and close"),
    Setting(
        "SMTP_MAX_SESSION_TIME",
        parse.duration(0),
        "1h",
        "how long a session may last; a message under way is finished first; 0 is for ever",
    ),
    Setting(
        "SMTP_MIN_DATA_RATE",
        parse.size(0),
        "500",
        "bytes a second message data must average over SMTP_TIMEOUT, at least a minute; 0 is off",
        is_advanced=True,
    ),
    Setting(
        "SMTP_STRESS_TIMEOUT",
        parse.duration(0),
        "5",
        "when every connection is taken, a new one replaces whoever sent no mail and less than"
        " SMTP_MIN_DATA_RATE for this long; 0 is off",
        is_advanced=True,
    ),
    Setting(
        "SMTP_SHUTDOWN_TIMEOUT",
        parse.duration(0),
        "8",
        "seconds that sessions with a message under way get to finish it",
    ),
    Setting(
        "SMTP_RECIPIENTS",
        parse.recipients,
        "",
        "allow-list: @example.com, user@example.com, comma separated; empty is any",
    ),
    Setting("SMTP_STRICT", parse.boolean, "false", "refuse message lines over 998 bytes"),
    Setting(
        "SMTP_BARE_LF",
        parse.choice("refuse", "accept"),
        "refuse",
        "refuse messages with a LF that no CR precedes, or accept them as they are (test servers)",
    ),
    Setting(
        "SMTP_TLS",
        parse.choice("off", "auto", "required"),
        "auto",
        "off, auto (offer STARTTLS when a certificate is set) or required",
    ),
    Setting(
        "SMTP_TLS_CERT",
        parse.optional_text,
        "",
        "path of a PEM certificate chain, or self-signed for development",
    ),
    Setting("SMTP_TLS_KEY", parse.optional_text, "", "path of its PEM private key"),
    Setting("SMTP_TLS_PORT", parse.optional_port, "off", "implicit-TLS listener; off or a port"),
    Setting(
        "SMTP_TLS_MIN_VERSION", parse.choice("1.2", "1.3"), "1.2", "lowest TLS version: 1.2 or 1.3"
    ),
    Setting(
        "SMTP_AUTH",
        parse.choice("off", "optional", "required", "any"),
        "off",
        "off, optional, required, or any (accept every credential: development)",
    ),
    Setting(
        "SMTP_AUTH_USERS",
        parse.optional_text,
        "",
        "path of a file with user:hash lines (prixfixe hash-password)",
    ),
    Setting("SMTP_AUTH_INSECURE", parse.boolean, "false", "allow AUTH without TLS"),
    Setting(
        "SMTP_AUTH_MAX_FAILURES",
        parse.count(0),
        "15",
        "failed logins of one IPv4 address or IPv6 /64 before it is locked out; 0 is never",
    ),
    Setting(
        "SMTP_AUTH_LOCKOUT_TIME",
        parse.duration(0),
        "10m",
        "how long after the last failure a network is locked out; 0 is not at all",
    ),
    Setting(
        "SMTP_PROXY_PROTOCOL",
        parse.networks,
        "",
        "networks trusted to send PROXY v1 or v2, comma separated; empty is off",
    ),
    Setting(
        "SMTP_STORE",
        parse.store_url,
        "sqlite:mail/prixfixe.db",
        "sqlite:PATH, maildir:PATH, postgresql://USER@HOST/DATABASE, memory: or discard:",
    ),
    Setting(
        "SMTP_STORE_MAX_MESSAGES", parse.count(0), "0", "keep this many, oldest go first; 0 is all"
    ),
    Setting(
        "SMTP_STORE_MAX_AGE", parse.duration(0), "0", "keep this long, such as 7d; 0 is for ever"
    ),
    Setting(
        "SMTP_STORE_TIMEOUT",
        parse.duration(0.1),
        "60",
        "how long a commit may take before its client is told 451",
        is_advanced=True,
    ),
    Setting(
        "SMTP_STORE_QUORUM",
        parse.count(0),
        "1",
        "synchronous standbys a postgresql: store must have before a 250; 0 is a single PostgreSQL",
        is_advanced=True,
    ),
    Setting(
        "SMTP_STORE_MIN_FREE", parse.size(0), "64MiB", "below this free space: 452 and not ready"
    ),
    Setting(
        "SMTP_HANDLER",
        parse.handler,
        "",
        "package.module:Class of a handler written for aiosmtpd, which decides before the store",
    ),
    Setting(
        "SMTP_HANDLER_PATH",
        parse.optional_text,
        "",
        "folder where SMTP_HANDLER is found too; the server's user must not be able to write to it",
    ),
    Setting(
        "SMTP_HTTP_BIND",
        parse.bind,
        "127.0.0.1",
        "address of health, metrics and API; empty is all (the image's default)",
    ),
    Setting(
        "SMTP_HTTP_PORT", parse.optional_port, "8025", "its port; off closes it, 0 is any free port"
    ),
    Setting(
        "SMTP_HTTP_TOKEN",
        parse.token,
        "",
        "bearer token for all but health and metrics; unset is none, blank is refused",
        is_secret=True,
    ),
    Setting(
        "SMTP_HTTP_HOSTS",
        parse.hosts,
        "",
        "further names the API is asked by, comma separated, beside addresses, single labels, local"
        " names (.localhost .local .internal .test .svc) and SMTP_DOMAIN",
    ),
    Setting(
        "SMTP_FAULTS",
        parse.boolean,
        "false",
        "let tests make the server refuse, delay and drop (/api/v1/faults, magic addresses);"
        " never where mail matters",
    ),
    Setting(
        "SMTP_HTTP_UI",
        parse.boolean,
        "on",
        "on serves the inbox page at / and mail for its frames at /view; off removes both",
    ),
    Setting(
        "SMTP_LOG_LEVEL",
        parse.choice("debug", "info", "warning", "error", "critical"),
        "info",
        "debug, info, warning, error or critical",
    ),
    Setting(
        "SMTP_LOG_FORMAT",
        parse.optional_choice("text", "json"),
        "",
        "text or json; empty is text on a terminal, else json",
    ),
    Setting(
        "SMTP_LOG_ADDRESSES",
        parse.choice("full", "domain", "none"),
        "full",
        "how senders, recipients and users are logged: full, domain (*@example.com) or none (*)",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective settings; attributes are the variables' names in lower case without prefix.

    Sizes are in bytes, durations in seconds. None is "off" or "not given".
    """

    domain: str
    bind: str
    port: int
    max_connections: int
    max_connections_per_ip: int
    max_connection_rate: int
    max_message_size: int
    max_recipients: int
    max_messages: int
    max_errors: int
    max_inflight: int
    timeout: float
    max_session_time: float
    min_data_rate: int
    stress_timeout: float
    shutdown_timeout: float
    recipients: tuple[str, ...]
    strict: bool
    bare_lf: str
    tls: str
    tls_cert: str | None
    tls_key: str | None
    tls_port: int | None
    tls_min_version: str
    auth: str
    auth_users: str | None
    auth_insecure: bool
    auth_max_failures: int
    auth_lockout_time: float
    proxy_protocol: tuple[parse.Network, ...]
    store: str = field(repr=False)  # may have a password
    store_max_messages: int
    store_max_age: float
    store_timeout: float
    store_quorum: int
    store_min_free: int
    handler: str | None
    handler_path: str | None
    http_bind: str
    http_port: int | None
    http_token: str | None = field(repr=False)
    http_hosts: tuple[str, ...]
    faults: bool
    http_ui: bool
    log_level: str
    log_format: str | None
    log_addresses: str
