"""SMTP_HANDLER: a handler is imported and made at the start of a server, or refused by name."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiosmtpd.smtp import SMTP

from prixfixe.connection.hooks import HandlerError
from prixfixe.handlers.hooks import HookTable
from prixfixe.handlers.opening import HandlerHooks

if TYPE_CHECKING:
    import asyncio

    from prixfixe.settings import Settings
    from prixfixe.telemetry.log import Log

__all__ = ["load"]

_NAME, _PATH = "SMTP_HANDLER", "SMTP_HANDLER_PATH"
_MAX_ENTRIES: Final = 10_000
_FOLDER_SCHEMES: Final = ("sqlite", "maildir")


def load(settings: Settings, log: Log, loop: asyncio.AbstractEventLoop) -> HandlerHooks | None:
    """Return the hooks of the handler that the settings name, or None.

    Raises:
        HandlerError: it cannot be used; the text names setting, value and what was expected.

    """
    name = settings.handler
    if name is None:
        return None
    if settings.handler_path is not None:
        _add_path(settings.handler_path, settings.store)
    handler = _make(name)
    _check_offered(name, handler)
    table = HookTable(_template(name, handler, settings, loop), log, settings.store_timeout)
    log.say("handler in use", handler=name, hooks=" ".join(sorted(table.names())))
    return HandlerHooks(table)


def _template(name: str, handler: Any, settings: Settings, loop: asyncio.AbstractEventLoop) -> SMTP:  # noqa: ANN401
    try:
        return SMTP(
            handler,
            hostname=settings.domain,
            ident="ESMTP PrixFixe",
            data_size_limit=settings.max_message_size,
            enable_SMTPUTF8=True,
            loop=loop,
        )
    except RuntimeError as error:  # aiosmtpd refuses a hook with other parameters
        raise _trouble(name, f"hooks as aiosmtpd calls them ({error})") from error


def _trouble(value: object, expected: str, setting: str = _NAME) -> HandlerError:
    return HandlerError(f"{setting}={str(value)!r}: expected {expected}")


# --- the folder


def _add_path(path: str, store: str) -> None:
    """Append the folder to the module path, unless whoever serves mail could change it."""
    folder = Path(path).resolve()
    if not folder.is_dir():
        raise _trouble(path, "a folder", _PATH)
    mail = _mail_folder(store)
    if mail is not None and (folder.is_relative_to(mail) or mail.is_relative_to(folder)):
        raise _trouble(path, f"a folder apart from the mail in {mail}", _PATH)
    writable = _writable(folder)
    if writable is not None:
        text = f"a folder that the server's user cannot write to ({writable} is writable)"
        raise _trouble(path, text, _PATH)
    sys.path.append(str(folder))


def _mail_folder(store: str) -> Path | None:
    scheme, _, path = store.partition(":")
    if scheme not in _FOLDER_SCHEMES:
        return None
    place = Path(path).resolve()
    return place.parent if scheme == "sqlite" else place


def _writable(folder: Path) -> Path | None:
    """Return the first thing in the folder that this user may write to, or None."""
    left = _MAX_ENTRIES
    for root, folders, files in os.walk(folder):
        for one in (Path(root), *(Path(root, name) for name in (*folders, *files))):
            left -= 1
            if left < 0:
                raise _trouble(folder, f"a folder with at most {_MAX_ENTRIES} entries", _PATH)
            if os.access(one, os.W_OK):
                return one
    return None


# --- the handler


def _make(name: str) -> Any:  # noqa: ANN401 - whatever the user wrote
    module_name, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise _trouble(name, f"a class that can be imported ({_told(error)})") from error
    if not callable(found):
        raise _trouble(name, f"a class, found {type(found).__name__}")
    try:
        return found()
    except Exception as error:
        text = f"a class that is made without arguments ({_told(error)})"
        raise _trouble(name, text) from error


def _told(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _check_offered(name: str, handler: object) -> None:
    """Refuse hooks that would never be called."""
    names = {one for one, _ in inspect.getmembers(handler, callable)}
    unused = sorted(
        one for one in names if one.startswith("auth_") or one in ("handle_AUTH", "authenticator")
    )
    if unused:
        text = f"no {', '.join(unused)}: SMTP_AUTH_USERS has the logins of this server"
        raise _trouble(name, text)
