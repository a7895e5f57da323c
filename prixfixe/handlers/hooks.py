"""The hooks of one handler, found once, and which commands and messages are asked about."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aiosmtpd.smtp import SMTP

from prixfixe.handlers.paths import bounded
from prixfixe.handlers.smtp_server import OWN_METHODS
from prixfixe.smtp import replies
from prixfixe.smtp.commands import VERBS, Ask, Verb, asking, auth_barrier, limited

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.smtp.commands import Outcome
    from prixfixe.smtp.state import State
    from prixfixe.telemetry.log import Log

__all__ = ["HookTable", "UnsupportedError"]

_ASKED: Final = ("EHLO", "HELO", "MAIL", "RCPT", "RSET", "NOOP", "VRFY", "QUIT")
_KNOWN: Final = (*_ASKED, "DATA", "STARTTLS", "PROXY", "AUTH", "exception")
_OLD_HOOKS: Final = {"EHLO": "ehlo_hook", "RSET": "rset_hook"}  # of subclasses of SMTP


class UnsupportedError(Exception):
    """The handler or its server needs what PrixFixe does not offer; the text names it."""


class HookTable:
    """The hooks of the handler of an SMTP object of aiosmtpd, which itself serves nobody.

    `template` is that object. `is_alone` means that no store keeps messages beside the handler. It
    then also checks logins. A hook may take `seconds`.

    Raises:
        UnsupportedError: the class of the object overrides what aiosmtpd does on the wire.

    """

    def __init__(self, template: SMTP, log: Log, seconds: float, *, is_alone: bool = False) -> None:
        _check_class(type(template))
        self.template = template
        self.log = log
        self.seconds = seconds
        self.is_alone = is_alone
        self.handler: Any = template.event_handler
        self.hooks: dict[str, Callable[..., Any]] = dict(template._handle_hooks)  # noqa: SLF001
        self.is_ehlo_old = template._ehlo_hook_ver == "old"  # noqa: SLF001
        self.is_decoding = template._decode_data  # noqa: SLF001
        self.mechanisms = {
            name.upper(): attr.method
            for name, attr in template._auth_methods.items()  # noqa: SLF001
        }
        self.old_hooks = {
            verb: getattr(type(template), name)
            for verb, name in _OLD_HOOKS.items()
            if hasattr(type(template), name)
        }
        self.process_message = self._find_process_message()
        self.wants_header = is_alone or "PROXY" in self.hooks
        self.wants_message = is_alone or "DATA" in self.hooks or self.process_message is not None
        self.verbs = self._table()

    def names(self) -> set[str]:
        """Return the names of the hooks that the handler has."""
        old = set() if self.process_message is None else {"process_message"}
        return old | {f"handle_{verb}" for verb in self.hooks if verb in _KNOWN}

    def _find_process_message(self) -> Callable[..., Any] | None:
        return None if "DATA" in self.hooks else getattr(self.handler, "process_message", None)

    def _table(self) -> dict[bytes, Verb]:
        table = dict(VERBS)
        if self.is_alone:
            for octets in (b"MAIL", b"RCPT"):
                table[octets] = bounded(self.template, table[octets])
        for name in _ASKED:
            if name in self.hooks or name in self.old_hooks:
                table[name.encode("ascii")] = asking(table[name.encode("ascii")])
        if self.is_alone:
            own = Verb("AUTH", partial(_auth, self.mechanisms), VERBS[b"AUTH"].max_octets)
            table[b"AUTH"] = own
            self._limit(table)
        return table

    def _limit(self, table: dict[bytes, Verb]) -> None:
        """Apply aiosmtpd's `command_call_limit`."""
        template = self.template
        if not template._enforce_call_limit:  # noqa: SLF001
            return
        usual, special = template._call_limit_default, template._call_limit_base  # noqa: SLF001
        for name, verb in table.items():
            table[name] = limited(verb, special.get(verb.name, usual))


def _auth(known: dict[str, Any], state: State, argument: bytes) -> Outcome:
    """AUTH with the handler's mechanisms (RFC 4954 section 4)."""
    refusal = auth_barrier(state)
    if refusal is not None:
        return refusal
    words = argument.split()
    if not 0 < len(words) <= 2 or not argument.isascii():
        return replies.AUTH_SYNTAX
    name = words[0].decode("ascii").upper()
    if name not in known:
        return replies.UNKNOWN_MECHANISM
    state.begin_login(name)
    return Ask(replies.AUTHENTICATED, argument)


def _check_class(server: type[SMTP]) -> None:
    """Refuse a subclass whose own protocol methods would never be called."""
    for name, value in inspect.getmembers(server, inspect.isfunction):
        is_verb = name.startswith("smtp_") and name != "smtp_STARTTLS"  # TLS is ours anyway
        is_wire = is_verb or name in (*OWN_METHODS, "push", "challenge_auth")
        if is_wire and value is not getattr(SMTP, name, None):
            msg = (
                f"{server.__module__}.{server.__qualname__}.{name} is not offered:"
                " PrixFixe speaks the protocol; use a handler's hooks"
            )
            raise UnsupportedError(msg)
