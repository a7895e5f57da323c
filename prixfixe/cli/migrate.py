"""`prixfixe migrate`: make the store of the settings, or bring it up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.cli.environment import Failure, settings
from prixfixe.stores.base import StoreOpenError
from prixfixe.stores.registry import migrate as migrate_store

if TYPE_CHECKING:
    import argparse

__all__ = ["migrate"]


def migrate(_args: argparse.Namespace) -> int:
    """Migrate, and say what was done; fail with 3 if it cannot be done."""
    try:
        print(migrate_store(settings().store))
    except StoreOpenError as error:
        raise Failure(3, error) from None
    return 0
