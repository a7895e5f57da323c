"""Settings as text, as JSON and as `.env.example`; secrets are hidden in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prixfixe.settings import parse
from prixfixe.settings.table import TABLE
from prixfixe.stores.registry import shown

if TYPE_CHECKING:
    from prixfixe.settings.table import Setting, Settings

__all__ = ["example", "plain", "show"]

_HEAD = """\
# PrixFixe settings, with their defaults. Copy to .env and change what you need. Docker compose and
# the scripts read .env in this folder; without Docker: prixfixe serve --env-file .env
# Sizes: bytes or 10MiB, 25MB. Durations: seconds or 30s, 5m, 7d.
# NAME_FILE reads the value of NAME from a file.
# In a container leave SMTP_STORE and SMTP_HTTP_BIND to the image, and for docker compose give ports
# as numbers, neither 0 nor off.
"""
# For which use, in a sentence, and what is set for it in a container.
_EXAMPLES = {
    "Development: any login, any line ends, and no lock-out": (
        "SMTP_AUTH=any",
        "SMTP_AUTH_INSECURE=true",
        "SMTP_AUTH_MAX_FAILURES=0",
        "SMTP_BARE_LF=accept",
    ),
    "Staging: mail of one domain, for a week, behind a token": (
        "SMTP_RECIPIENTS=@staging.example.com",
        "SMTP_STORE_MAX_AGE=7d",
        "SMTP_HTTP_TOKEN_FILE=/run/secrets/token",
    ),
    "Production: see docs/public.md": (
        "PRIXFIXE_PUBLISH=0.0.0.0",
        "SMTP_PORT=25",
        "SMTP_DOMAIN=mx.example.com",
        "SMTP_RECIPIENTS=@example.com",
        "SMTP_TLS_CERT=/run/secrets/cert.pem",
        "SMTP_TLS_KEY=/run/secrets/key.pem",
        "SMTP_HTTP_TOKEN_FILE=/run/secrets/token",
        "SMTP_MAX_CONNECTIONS_PER_IP=20",
        "SMTP_STORE_MAX_AGE=90d",
    ),
}
_ADVANCED_HEAD = """
# --- Advanced: the defaults fit nearly every server. docker-compose.yml does not pass these on:
# name those that you set in docker-compose.override.yml, under `environment` of `smtp`.
"""


def plain(settings: Settings, setting: Setting) -> Any:  # noqa: ANN401 - what JSON can hold
    """Return a value for JSON; None is "off" or "not given"."""
    value = getattr(settings, setting.attribute)
    if setting.is_secret and value:
        return "(hidden)"
    if setting.attribute == "store":
        return shown(value)
    return list(map(str, value)) if isinstance(value, tuple) else value


def show(settings: Settings, setting: Setting) -> str:
    """Return a value as it would be written in the environment, with secrets hidden."""
    value = plain(settings, setting)
    if value is None:
        return "off" if setting.parse is parse.optional_port else ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return ",".join(value) if isinstance(value, list) else str(value)


def example() -> str:
    """Return the text of `.env.example`: every setting, its help and its default."""
    plain_rows = [setting for setting in TABLE if not setting.is_advanced]
    advanced = [setting for setting in TABLE if setting.is_advanced]
    return _HEAD + _uses() + _rows(plain_rows) + _ADVANCED_HEAD + _rows(advanced)


def _uses() -> str:
    blocks = ["\n# --- Three examples to begin with; all settings follow.\n"]
    for use, lines in _EXAMPLES.items():
        blocks.append("".join([f"#\n# {use}.\n", *(f"#    {line}\n" for line in lines)]))
    return "".join(blocks)


def _rows(settings: list[Setting]) -> str:
    return "".join(f"\n# {one.help}\n#{one.env}={one.default}\n" for one in settings)
