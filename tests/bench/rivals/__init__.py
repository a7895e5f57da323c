"""The servers that are compared, in the order of the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.rivals.bare import Bare
from tests.bench.rivals.image import Image
from tests.bench.rivals.opensmtpd import OpenSmtpd
from tests.bench.rivals.ours import PrixFixe
from tests.bench.rivals.postfix import Postfix
from tests.bench.rivals.replicated import Replicated
from tests.bench.rivals.sink import Sink
from tests.bench.rivals.stock import Stock

if TYPE_CHECKING:
    from tests.bench.rivals.base import Rival

__all__ = ["RIVALS"]

RIVALS: dict[str, Rival] = {
    one.key: one
    for one in (
        PrixFixe("discard"),
        PrixFixe("sqlite"),
        PrixFixe("maildir"),
        Replicated(),
        Image("discard"),
        Image("sqlite"),
        Stock("asyncio"),
        Stock("uvloop"),
        Postfix(),
        OpenSmtpd(),
        Sink(),
        Bare(),
    )
}
