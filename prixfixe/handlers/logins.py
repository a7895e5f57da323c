"""AUTH by a handler's hooks: `handle_AUTH`, `auth_MECHANISM`, an authenticator, or a callback."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import MISSING, AuthResult

from prixfixe.smtp import replies

if TYPE_CHECKING:
    from prixfixe.handlers.hooks import HookTable
    from prixfixe.handlers.smtp_server import ServerObject

__all__ = ["login_status"]

_ACCEPTED = str(replies.AUTHENTICATED)
_INVALID = str(replies.BAD_CREDENTIALS)


async def login_status(
    hooks: HookTable, server: ServerObject, words: list[str]
) -> tuple[Any, str | None]:
    """Return the handler's reply to `AUTH words`, None if it was pushed, and the user if any."""
    hook = hooks.hooks.get("AUTH")
    if hook is not None:
        status = hook(server, server.session, server.envelope, words)
        status = await status if inspect.isawaitable(status) else status
        if status is not MISSING:
            return status, words[0] if str(status).startswith("235") else None
    method: Any = hooks.mechanisms[words[0].upper()]
    if getattr(method, "__self__", None) is hooks.template:
        method = method.__func__.__get__(server)
    result = method(server, words)
    result = await result if inspect.isawaitable(result) else result
    return _judged(server, result, words[0])


def _judged(server: ServerObject, result: Any, mechanism: str) -> tuple[Any, str | None]:  # noqa: ANN401
    """Return reply and user for what a mechanism returned (aiosmtpd's two conventions)."""
    session = server.session
    if isinstance(result, AuthResult):
        if not result.success:
            return None if result.handled else result.message or _INVALID, None
        session.authenticated = True
        session.auth_data = result.auth_data
        login = getattr(result.auth_data, "login", None)
        session._login_data = login  # noqa: SLF001 - its setter warns
        return result.message or _ACCEPTED, _user(login, mechanism)
    if result is None:  # The mechanism pushed its reply.
        return None, mechanism
    if result is MISSING or result is False:
        return _INVALID, None
    session._login_data = result  # noqa: SLF001
    return _ACCEPTED, _user(result, mechanism)


def _user(login: object, mechanism: str) -> str:
    """Return the name for log and Received: that of the login, or the mechanism."""
    text = login.decode("utf-8", "replace") if isinstance(login, bytes) else login
    is_name = isinstance(text, str) and 0 < len(text) <= 255 and text.isprintable()
    return str(text) if is_name else mechanism
