"""`prixfixe migrate`: make the schema, or bring it up to date, while no server has to run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prixfixe.stores.base import StoreOpenError
from prixfixe.stores.postgresql import schema
from prixfixe.stores.postgresql.cluster import Cluster, NoPrimaryError
from prixfixe.stores.postgresql.errors import FAULTS

if TYPE_CHECKING:
    from prixfixe.stores.postgresql.address import Address

__all__ = ["migrated"]

CONNECT_SECONDS = 10.0


def migrated(address: Address) -> str:
    """Return what was done. Raises `StoreOpenError`."""
    return asyncio.run(_migrated(address))


async def _migrated(address: Address) -> str:
    try:
        session = await Cluster(address, "prixfixe migrate").primary(CONNECT_SECONDS)
    except NoPrimaryError as error:
        raise StoreOpenError(f"store postgresql: {error}") from error
    try:
        before, now = await schema.migrate(session.connection)
    except FAULTS as error:
        msg = f"store postgresql {address}: {type(error).__name__}: {error}"
        raise StoreOpenError(msg) from error
    finally:
        session.connection.terminate()
    if before == now:
        return f"the schema is of version {now}: nothing to do"
    return f"the schema is of version {now} now" + (f"; it was {before}" if before else "")
