"""Mailpit's variables as settings of this server, for the image `prixfixe-mailpit`.

It runs in place of Mailpit's image, so it also starts as root, to read what only root may read.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.settings import Problem, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

__all__ = ["take_mailpit"]

PREFIX = "MP_"
_HIDDEN = "(hidden)"
_PLAIN_PORT = "2525"  # beside a port of implicit TLS; for the health check
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
# What a server in the place of Mailpit does without being told.
_DEFAULTS = {
    "SMTP_PORT": "1025",
    "SMTP_HTTP_PORT": "8025",
    "SMTP_BARE_LF": "accept",
    "SMTP_MAX_MESSAGE_SIZE": "50MiB",
    "SMTP_AUTH_MAX_FAILURES": "0",
}
# What is always so: no look-ups, no requests for newer versions.
_ALWAYS = ("MP_SMTP_DISABLE_RDNS", "MP_DISABLE_VERSION_CHECK", "MP_DISABLE_HTTP_COMPRESSION")
# To go on without these would be open where its user expects it to be closed.
_REFUSED = {
    "MP_UI_AUTH": "set SMTP_HTTP_TOKEN, which clients send as a bearer token",
    "MP_UI_AUTH_FILE": "set SMTP_HTTP_TOKEN_FILE, which clients send as a bearer token",
    "MP_UI_TLS_CERT": "put a proxy with TLS in front of it",
    "MP_SMTP_ALLOWED_RECIPIENTS": "set SMTP_RECIPIENTS, such as @example.com",
}


class Taken(NamedTuple):
    """Settings by their names, and remarks on variables without effect."""

    settings: dict[str, str]
    notes: list[str]


def take_mailpit(environ: MutableMapping[str, str], *, is_server: bool) -> list[str]:
    """Set this server's variables from Mailpit's; return remarks for its log.

    A variable of Mailpit wins over one of this server. A server that is root reads the certificate,
    and is the user of PRIXFIXE_USER from then on.

    Raises:
        SettingsError: a value cannot be used.

    """
    settings, notes = translated(environ)
    environ.update(settings)
    user = environ.get("PRIXFIXE_USER", "")
    if is_server and user.isdecimal() and os.geteuid() == 0:
        for name in ("SMTP_TLS_CERT", "SMTP_TLS_KEY"):
            if name in environ and name in settings:
                environ[name] = _copied(environ[name])
        notes += _become(int(user))
    return notes


def translated(environ: Mapping[str, str]) -> Taken:
    """Return what Mailpit's variables mean here. Raises `SettingsError`."""
    given = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    settings = {name: value for name, value in _DEFAULTS.items() if name not in environ}
    notes = []
    for name, value in sorted(given.items()):
        if name in _REFUSED:
            raise _wrong(name, _HIDDEN, f"no such variable: {_REFUSED[name]}")
        if name in _READERS:
            settings |= _READERS[name](name, value)
        elif name not in (*_ALWAYS, *_TOGETHER):
            notes.append(f"{name} has no effect: PrixFixe has nothing like it")
    settings |= _login(given)
    settings |= _listeners(given, {**environ, **settings})
    return Taken(settings, notes)


def _wrong(name: str, value: str, expected: str) -> SettingsError:
    return SettingsError([Problem(name, value if value == _HIDDEN else repr(value), expected)])


def _is_on(name: str, value: str | None) -> bool:
    word = (value or "").strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise _wrong(name, word, "true or false")
    return word in _TRUE


# --- one by one


def _renamed(target: str) -> Callable[[str, str], dict[str, str]]:
    return lambda _name, value: {target: value}


def _switch(target: str, when_on: str) -> Callable[[str, str], dict[str, str]]:
    return lambda name, value: {target: when_on} if _is_on(name, value) else {}


def _address(bind: str, port: str) -> Callable[[str, str], dict[str, str]]:
    def read(name: str, value: str) -> dict[str, str]:
        host, colon, number = value.rpartition(":")
        if not colon or not number.isdecimal():
            raise _wrong(name, value, "HOST:PORT, such as 0.0.0.0:1025")
        host = host.strip("[]")
        return {bind: "" if host in ("0.0.0.0", "::") else host, port: number}  # noqa: S104

    return read


def _certificate(name: str, value: str) -> dict[str, str]:
    """Read a path, or names such as `sans:localhost,mail.test` of a certificate that is made."""
    if not value.startswith("sans:"):
        return {"SMTP_TLS_CERT": value}
    from prixfixe.tls.self_signed import make_pair

    names = [one.strip() for one in value.removeprefix("sans:").split(",") if one.strip()]
    if not names:
        raise _wrong(name, value, "sans:NAME, such as sans:localhost")
    pair = make_pair(names[0], more=names[1:])
    return {"SMTP_TLS_CERT": _private(pair.certificate), "SMTP_TLS_KEY": _private(pair.key)}


def _user_file(name: str, value: str) -> dict[str, str]:
    try:
        with open(value, encoding="utf-8") as file:  # noqa: PTH123 - `version` needs no pathlib
            return _users(name, file.read().split())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise _wrong(name, value, f"a file that can be read ({reason})") from None


def _users(name: str, entries: list[str]) -> dict[str, str]:
    """Write names and passwords, which Mailpit takes in clear, as a file of users."""
    from prixfixe.auth.hashes import hash_password

    lines = []
    for entry in entries:
        user, colon, password = entry.partition(":")
        if not colon or not user or not password:
            raise _wrong(name, _HIDDEN, "USER:PASSWORD, several with a blank between them")
        lines.append(
            f"{user}:{password if password[0] == '$' else hash_password(password, log_n=10)}\n"
        )
    if not lines:
        return {}
    return {"SMTP_AUTH": "required", "SMTP_AUTH_USERS": _private("".join(lines))}


_READERS: dict[str, Callable[[str, str], dict[str, str]]] = {
    "MP_SMTP_BIND_ADDR": _address("SMTP_BIND", "SMTP_PORT"),
    "MP_UI_BIND_ADDR": _address("SMTP_HTTP_BIND", "SMTP_HTTP_PORT"),
    "MP_SMTP_TLS_CERT": _certificate,
    "MP_SMTP_TLS_KEY": _renamed("SMTP_TLS_KEY"),
    "MP_MAX_MESSAGES": _renamed("SMTP_STORE_MAX_MESSAGES"),
    "MP_MAX_AGE": _renamed("SMTP_STORE_MAX_AGE"),
    "MP_SMTP_MAX_RECIPIENTS": _renamed("SMTP_MAX_RECIPIENTS"),
    "MP_ENABLE_CHAOS": _switch("SMTP_FAULTS", "true"),
    "MP_VERBOSE": _switch("SMTP_LOG_LEVEL", "debug"),
    "MP_QUIET": _switch("SMTP_LOG_LEVEL", "warning"),
}


# --- those that belong together

_TOGETHER = (
    "MP_SMTP_AUTH",
    "MP_SMTP_AUTH_FILE",
    "MP_SMTP_AUTH_ACCEPT_ANY",
    "MP_SMTP_AUTH_ALLOW_INSECURE",
    "MP_SMTP_REQUIRE_TLS",
    "MP_SMTP_REQUIRE_STARTTLS",
)


def _login(given: Mapping[str, str]) -> dict[str, str]:
    """Return who may log in; as with Mailpit, also without TLS."""
    names = ("MP_SMTP_AUTH_ACCEPT_ANY", "MP_SMTP_AUTH_ALLOW_INSECURE")
    is_any, _ = (_is_on(name, given.get(name)) for name in names)
    users: dict[str, str] = {}
    if "MP_SMTP_AUTH" in given:
        users |= _users("MP_SMTP_AUTH", given["MP_SMTP_AUTH"].split())
    if "MP_SMTP_AUTH_FILE" in given:
        users |= _user_file("MP_SMTP_AUTH_FILE", given["MP_SMTP_AUTH_FILE"])
    if users and is_any:
        raise _wrong(names[0], "true", "users or every login, not both")
    found = users or ({"SMTP_AUTH": "any"} if is_any else {})
    return found | ({"SMTP_AUTH_INSECURE": "true"} if found else {})


def _listeners(given: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Return how TLS is required: Mailpit's one port speaks TLS from the first byte, or STARTTLS.

    Then the plain port, which is for the health check, takes no mail without TLS.
    """
    names = ("MP_SMTP_REQUIRE_TLS", "MP_SMTP_REQUIRE_STARTTLS")
    is_implicit, is_starttls = (_is_on(name, given.get(name)) for name in names)
    if is_implicit:
        tls_port = known["SMTP_PORT"]
        plain = _PLAIN_PORT if tls_port != _PLAIN_PORT else "1025"
        return {"SMTP_TLS": "required", "SMTP_TLS_PORT": tls_port, "SMTP_PORT": plain}
    return {"SMTP_TLS": "required"} if is_starttls else {}


# --- secrets, and the rights of root


def _private(text: str) -> str:
    """Return the path of a file that this process alone knows; in memory where there is such."""
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):  # noqa: PTH112 - see above
        descriptor = os.memfd_create("prixfixe")
        os.write(descriptor, text.encode())
        return f"/proc/self/fd/{descriptor}"
    descriptor, path = tempfile.mkstemp(prefix="prixfixe-")
    os.write(descriptor, text.encode())
    os.close(descriptor)
    return path


def _copied(path: str) -> str:
    """Return the path of a copy; of what cannot be read, the same: the server says why."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - see above
            return _private(file.read())
    except (OSError, UnicodeDecodeError):
        return path


def _become(user: int) -> list[str]:
    """Give up the rights of root."""
    try:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    except PermissionError as error:
        return [f"PRIXFIXE_USER={user} has no effect: the server stays root ({error.strerror})"]
    return []
