"""The paths of faults: add one, list them with their hits, remove one; and Mailpit's chaos.

Everything runs in the event loop, as sessions do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from prixfixe.faults.registry import MAX_RULES, TooManyFaultsError
from prixfixe.http.api.fault_request import read_chaos, read_fault
from prixfixe.http.pieces import fitting, listed
from prixfixe.http.responses import Json, only

if TYPE_CHECKING:
    from starlette.requests import Request

    from prixfixe.faults.registry import Chaos, Faults
    from prixfixe.faults.rule import Action, Match, Rule
    from prixfixe.http.api.made import MadeAnswers
    from prixfixe.http.context import HttpContext

__all__ = ["FaultPaths"]

OFF = "faults are off: start the server with SMTP_FAULTS=true"


class FaultPaths:
    """The paths under `/api/v1/faults`."""

    def __init__(self, context: HttpContext, made: MadeAnswers) -> None:
        self._context = context
        self._made = made

    @property
    def _faults(self) -> Faults:
        if self._context.faults is None:
            raise HTTPException(400, OFF)
        return self._context.faults

    async def add(self, request: Request) -> Response:
        """Add a fault and return its id."""
        faults = self._faults
        only(request)
        asked = await read_fault(request)
        try:
            name = faults.add(
                asked.stage, asked.match, asked.action, times=asked.times, seconds=asked.seconds
            )
        except TooManyFaultsError:
            text = f"there are {MAX_RULES} faults already: delete some, or give them a shorter ttl"
            raise HTTPException(503, text) from None
        return Json({"ID": name})

    async def faults(self, request: Request) -> Response:
        """Return all faults that fit, oldest first, with how often each was met."""
        faults = self._faults
        only(request)
        records = [_record(*one) for one in faults.rules()]
        return await self._made.json(request, lambda: listed("faults", fitting(records)))

    async def fault(self, request: Request) -> Response:
        """Return one fault."""
        faults, name = self._faults, request.path_params["id"]
        only(request)
        for rule, seconds in faults.rules():
            if rule.id == name:
                return Json(_record(rule, seconds))
        raise _no_such_fault()

    async def chaos(self, request: Request) -> Response:
        """Return Mailpit's triggers."""
        faults = self._faults
        only(request)
        return Json(_triggers(faults.chaos))

    async def set_chaos(self, request: Request) -> Response:
        """Set Mailpit's triggers; those that are not named are reset."""
        faults = self._faults
        only(request)
        return Json(_triggers(faults.set_chaos(await read_chaos(request))))

    async def remove(self, request: Request) -> Response:
        """Remove a fault."""
        faults = self._faults
        only(request)
        if not faults.remove(request.path_params["id"]):
            raise _no_such_fault()
        return Response(b"ok", media_type="text/plain")


def _triggers(chaos: dict[str, Chaos]) -> dict[str, Any]:
    return {
        name: {"ErrorCode": one.code, "Probability": one.percent} for name, one in chaos.items()
    }


def _no_such_fault() -> HTTPException:
    return HTTPException(404, "no such fault: it was removed, or its ttl is over")


def _record(rule: Rule, seconds: float) -> dict[str, Any]:
    return {
        "ID": rule.id,
        "Match": _match(rule.match),
        "Stage": rule.stage,
        "Action": _action(rule.action),
        "Times": rule.times,
        "TTL": round(max(0.0, seconds), 3),
        "Hits": rule.hits,
    }


def _match(match: Match) -> dict[str, str]:
    said = {"to": match.to, "from": match.sender, "peer": match.peer, "helo": match.helo}
    return {name: value for name, value in said.items() if value is not None}


def _action(action: Action) -> dict[str, Any]:
    said: dict[str, Any] = {
        "reply": action.reply,
        "delay": None if action.delay is None else f"{action.delay:g}s",
        "drop": action.is_drop or None,
        "stall": action.is_stall or None,
        "close_after": action.close_after,
    }
    return {name: value for name, value in said.items() if value is not None}
