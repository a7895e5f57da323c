"""Rules between settings that are each valid by themselves, and settings that have no effect.

A rule is skipped if one of its settings could not be read. No rule reads a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from prixfixe.stores.registry import named

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence

    from prixfixe.settings.table import Settings

__all__ = ["IDLE", "RULES", "Rule", "broken", "idle"]


class Rule(NamedTuple):
    """A forbidden combination of attributes; an error names the first one.

    `expected` may refer to their values by position: `{1}` is the value of the second attribute.
    """

    attributes: tuple[str, ...]
    is_broken: Callable[..., bool]
    expected: str | Callable[..., str]

    def sentence(self, values: Sequence[Any]) -> str:
        """Return what was expected, for these values."""
        expected = self.expected
        return expected.format(*values) if isinstance(expected, str) else expected(*values)


def _is_auth_hopeless(auth: str, is_insecure: bool, cert: str | None, tls: str, port: Any) -> bool:  # noqa: ANN401, FBT001
    """Whether AUTH is on and no session could ever offer it (RFC 4954 section 4)."""
    has_tls = cert is not None and (tls != "off" or port is not None)
    return auth != "off" and not is_insecure and not has_tls


def _is_too_large(size: int, store: str) -> bool:
    most = named(store).technology.max_message_bytes
    return most is not None and size > most


def _largest(_size: int, store: str) -> str:
    scheme, technology, _ = named(store)
    most = technology.max_message_bytes
    return f"at most {most} with a {scheme}: store, which cannot keep a larger one"


RULES: tuple[Rule, ...] = (
    Rule(
        ("tls", "tls_cert"),
        lambda tls, cert: tls == "required" and cert is None,
        "SMTP_TLS_CERT to be set too",
    ),
    Rule(
        ("tls_port", "tls_cert"),
        lambda port, cert: port is not None and cert is None,
        "SMTP_TLS_CERT to be set too",
    ),
    Rule(
        ("tls_cert", "tls_key"),
        lambda cert, key: cert not in (None, "self-signed") and key is None,
        "SMTP_TLS_KEY to be set too",
    ),
    Rule(
        ("tls_key", "tls_cert"),
        lambda key, cert: key is not None and cert in (None, "self-signed"),
        "SMTP_TLS_CERT to be the path of its certificate",
    ),
    Rule(
        ("tls_port", "port"),
        lambda tls_port, port: bool(tls_port) and tls_port == port,
        "another port than SMTP_PORT",
    ),
    Rule(
        ("http_port", "port", "tls_port"),
        lambda http, smtp, smtps: bool(http) and http in (smtp, smtps),
        "another port than the SMTP listeners",
    ),
    Rule(
        ("auth", "auth_users"),
        lambda auth, users: auth in ("optional", "required") and users is None,
        "SMTP_AUTH_USERS to be set too",
    ),
    Rule(
        ("auth", "auth_insecure", "tls_cert", "tls", "tls_port"),
        _is_auth_hopeless,
        "a certificate (SMTP_TLS_CERT), or SMTP_AUTH_INSECURE=true to allow it in clear",
    ),
    Rule(
        ("max_inflight", "max_message_size"),
        lambda inflight, message: inflight < message,
        "at least SMTP_MAX_MESSAGE_SIZE ({1})",
    ),
    Rule(
        ("max_message_size", "store"),
        _is_too_large,
        _largest,
    ),
)


def broken(values: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield attribute, value and what was expected for each attribute that breaks a rule."""
    found: dict[str, list[str]] = {}
    for rule in RULES:
        if all(attribute in values for attribute in rule.attributes):
            known = [values[attribute] for attribute in rule.attributes]
            if rule.is_broken(*known):
                found.setdefault(rule.attributes[0], []).append(rule.sentence(known))
    for attribute, all_expected in found.items():
        yield attribute, values[attribute], "; and ".join(all_expected)


def _has_no_tls(settings: Settings) -> bool:
    return settings.tls_cert is None


# Attribute, when it has no effect, and why. Only a changed setting causes a warning. A store's
# technology says which settings have no effect on it.
IDLE: tuple[tuple[str, Callable[[Settings], bool], str], ...] = (
    (
        "auth_users",
        lambda settings: settings.auth == "off",
        "SMTP_AUTH is off; did you mean to set SMTP_AUTH=required too?",
    ),
    (
        "handler_path",
        lambda settings: settings.handler is None,
        "SMTP_HANDLER is not set",
    ),
    ("tls_min_version", _has_no_tls, "there is no TLS without SMTP_TLS_CERT"),
    (
        "http_token",
        lambda settings: settings.http_port is None,
        "SMTP_HTTP_PORT is off",
    ),
    (
        "store_quorum",
        lambda settings: not named(settings.store).technology.is_shared,
        "only a postgresql: store has standbys",
    ),
)


def idle(settings: Settings, given: Container[str]) -> Iterator[tuple[str, str]]:
    """Yield attribute and reason of each given setting that has no effect."""
    for attribute, is_idle, why in IDLE:
        if attribute in given and is_idle(settings):
            yield attribute, why
    for attribute, why in named(settings.store).technology.unused.items():
        if attribute in given:
            yield attribute, why
