"""aiosmtpd's controllers on PrixFixe's engine.

They are aiosmtpd's own classes, whose thread, loop and listener stay; only what serves a connection
is another object. `install` gives aiosmtpd's controllers the same engine.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import uvloop
from aiosmtpd import controller as theirs
from aiosmtpd.controller import BaseController, BaseUnthreadedController
from aiosmtpd.smtp import SMTP

from prixfixe.handlers.engine import Engine

if TYPE_CHECKING:
    from asyncio import BaseProtocol
    from collections.abc import Callable

    from prixfixe.connection.connection import Connection

__all__ = [
    "Controller",
    "UnixSocketController",
    "UnixSocketUnthreadedController",
    "UnthreadedController",
    "install",
]


class _Served:
    """The engine of one controller, and the connections of its own factory."""

    def __init__(self, controller: BaseController) -> None:
        self._factory: Callable[[], object] = controller.factory
        self._is_usual = type(controller).factory in (BaseController.factory, _original_factory)
        self._engine = Engine(controller.loop)
        self._make: Callable[[], Connection] | None = None

    def connect(self) -> Connection:
        """Return the protocol object of a new connection.

        A factory of aiosmtpd's is called once, one of the user's for every connection.
        """
        if self._make is None or not self._is_usual:
            self._make = self._engine.protocol_of(self._template())
        return self._make()

    def _template(self) -> SMTP:
        made = self._factory()
        if made is None:
            raise RuntimeError("factory() returned None")
        if not isinstance(made, SMTP):
            msg = f"factory() returned {made!r}, expected an aiosmtpd.smtp.SMTP"
            raise TypeError(msg)
        return made

    async def close(self) -> None:
        """End all connections."""
        await self._engine.close()


_served: WeakKeyDictionary[BaseController, _Served] = WeakKeyDictionary()
_original_factory = BaseController.factory
_original_cancel: Callable[[BaseController, bool], None] = BaseController.cancel_tasks
_original_finalize = BaseUnthreadedController.finalize


class _Failed(asyncio.Protocol):
    """The connection of a controller that could not make a server."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close at once."""
        transport.close()


def _serve(controller: BaseController) -> BaseProtocol:
    """Return the protocol object of a new connection; an exception stops the start."""
    try:
        served = _served.get(controller)
        if served is None:
            served = _served[controller] = _Served(controller)
        connection = served.connect()
        controller.smtpd = connection.dialogue_server()
        return connection
    except Exception as error:  # noqa: BLE001 - `start` raises it in the user's thread
        controller._thread_exception = error  # noqa: SLF001
        return _Failed()
    finally:
        controller._factory_invoked.set()  # noqa: SLF001


def _cancel_tasks(controller: BaseController, stop_loop: bool = True) -> None:  # noqa: FBT001, FBT002
    """Tell all clients 421 and close, then do what aiosmtpd does."""
    ending = controller.loop.create_task(_end(controller))
    ending.add_done_callback(lambda _: _original_cancel(controller, stop_loop))


async def _end(controller: BaseController) -> None:
    served = _served.pop(controller, None)
    if served is not None:
        await served.close()


async def _finalize(controller: BaseUnthreadedController) -> None:
    """Tell all clients 421 and close, then do what aiosmtpd does."""
    await _end(controller)
    await _original_finalize(controller)  # type: ignore[no-untyped-call]


class _OnEngine(BaseController):
    """A controller whose connections are PrixFixe's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - aiosmtpd's arguments
        super().__init__(*args, **kwargs)  # its type is not annotated
        given = inspect.signature(super().__init__).bind(*args, **kwargs).arguments
        if given.get("loop") is None:
            self.loop.close()
            self.loop = uvloop.new_event_loop()

    def _factory_invoker(self) -> Any:  # noqa: ANN401 - aiosmtpd's type is its own protocol
        return _serve(self)

    def cancel_tasks(self, stop_loop: bool = True) -> None:  # noqa: FBT001, FBT002
        """Tell all clients 421, close, and stop the loop."""
        _cancel_tasks(self, stop_loop)


class Controller(_OnEngine, theirs.Controller):
    """aiosmtpd's `Controller`: a thread with a loop, listening on host and port."""


class UnixSocketController(_OnEngine, theirs.UnixSocketController):
    """aiosmtpd's `UnixSocketController`: a thread with a loop, listening on a socket file."""


class UnthreadedController(_OnEngine, theirs.UnthreadedController):
    """aiosmtpd's `UnthreadedController`: in the loop of the caller, listening on host and port."""

    async def finalize(self) -> None:
        """Close the listener and all connections."""
        await _finalize(self)


class UnixSocketUnthreadedController(_OnEngine, theirs.UnixSocketUnthreadedController):
    """aiosmtpd's `UnixSocketUnthreadedController`: in the caller's loop, on a socket file."""

    async def finalize(self) -> None:
        """Close the listener and all connections."""
        await _finalize(self)


def install() -> None:
    """Give every controller of aiosmtpd PrixFixe's engine, also those that are subclassed already.

    Controllers that have started keep what they have.
    """
    BaseController._factory_invoker = _serve  # type: ignore[method-assign, assignment]  # noqa: SLF001
    BaseController.cancel_tasks = _cancel_tasks  # type: ignore[method-assign, assignment]
    BaseUnthreadedController.finalize = _finalize  # type: ignore[method-assign]
