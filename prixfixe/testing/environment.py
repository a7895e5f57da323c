"""The variables by which applications find their mail server, and tests a token."""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import quote

__all__ = ["TOKEN", "Reached", "token", "variables"]

TOKEN = "PRIXFIXE_TOKEN"  # noqa: S105 - the name of a variable

_USERS = ("SMTP_USER", "SMTP_USERNAME", "EMAIL_HOST_USER", "MAIL_USERNAME")
_PASSWORDS = ("SMTP_PASSWORD", "EMAIL_HOST_PASSWORD", "MAIL_PASSWORD")


class Reached(NamedTuple):
    """Where a server is reached.

    `certificate` is a path, `login` a user and a password, `token` that of the API.
    """

    host: str
    port: int
    url: str
    certificate: str | None = None
    login: tuple[str, str] | None = None
    token: str | None = None


def token() -> str | None:
    """Return the token of a shared server's API, which the environment of the tests has."""
    return os.environ.get(TOKEN, "").strip() or None


def variables(reached: Reached) -> dict[str, str]:
    """Return the usual names: of Django, Flask, Laravel, Symfony, Rails, nodemailer and others."""
    host, port = reached.host, str(reached.port)
    tls = "true" if reached.certificate else "false"
    found = {
        **dict.fromkeys(("SMTP_HOST", "EMAIL_HOST", "MAIL_HOST", "MAIL_SERVER"), host),
        **dict.fromkeys(("SMTP_PORT", "EMAIL_PORT", "MAIL_PORT"), port),
        **dict.fromkeys(("EMAIL_USE_TLS", "MAIL_USE_TLS", "MAIL_STARTTLS"), tls),
        **dict.fromkeys(("EMAIL_USE_SSL", "MAIL_USE_SSL", "MAIL_SSL_TLS"), "false"),
        **dict.fromkeys(("SMTP_URL", "EMAIL_URL", "MAILER_DSN"), _url(reached)),
        "PRIXFIXE_URL": reached.url,
    }
    if reached.token:
        found[TOKEN] = reached.token
    if reached.certificate:
        found["NODE_EXTRA_CA_CERTS"] = reached.certificate
    if reached.login:
        user, password = reached.login
        found |= dict.fromkeys(_USERS, user) | dict.fromkeys(_PASSWORDS, password)
    return found


def _url(reached: Reached) -> str:
    login = "".join(f"{quote(one, safe='')}:" for one in reached.login or ())
    login = f"{login.removesuffix(':')}@" if login else ""
    return f"smtp://{login}{reached.host}:{reached.port}"
