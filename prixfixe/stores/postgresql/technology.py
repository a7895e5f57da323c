"""The technology of `postgresql://…`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.stores.technology import Technology

if TYPE_CHECKING:
    from pathlib import Path

    from prixfixe.stores.base import Reader, Store, StoreOptions

__all__ = ["TECHNOLOGY"]

# A statement ends at 1 GB, in which a body is written as it is; the rest is room for a group.
_MESSAGE_BYTES = 250_000_000
_NO_DRIVER = "needs the package asyncpg: pip install 'prixfixe[postgresql]'"


def _is_address(rest: str) -> bool:
    from prixfixe.stores.postgresql.address import parse

    try:
        parse(rest)
    except ValueError:
        return False
    return True


def _require_driver() -> None:
    from importlib.util import find_spec

    from prixfixe.stores.base import StoreOpenError

    if find_spec("asyncpg") is None:
        raise StoreOpenError(f"store postgresql: {_NO_DRIVER}")


def _store(rest: str, options: StoreOptions) -> Store:
    _require_driver()
    from prixfixe.stores.postgresql.address import parse
    from prixfixe.stores.postgresql.store import PostgresqlStore

    return PostgresqlStore(parse(rest), options)


def _reader(rest: str) -> Reader:
    _require_driver()
    from prixfixe.stores.postgresql.address import parse
    from prixfixe.stores.postgresql.reader import PostgresqlReader

    return PostgresqlReader(parse(rest))


def _migrated(rest: str) -> str:
    _require_driver()
    from prixfixe.stores.postgresql.address import parse
    from prixfixe.stores.postgresql.migration import migrated

    return migrated(parse(rest))


def _index_path(rest: str) -> Path | None:
    from pathlib import Path

    from prixfixe.stores.postgresql.address import parse

    path = parse(rest).index
    return None if path is None else Path(path)


def _copying(_rest: str, verb: str) -> str:
    if verb == "restore":
        return "it is a database: use pg_restore, and run `prixfixe migrate` after it"
    return "it is a database: use pg_dump, or `prixfixe export`"


TECHNOLOGY = Technology(
    "postgresql://USER@HOST/DATABASE",
    _is_address,
    _store,
    reader=_reader,
    copying=_copying,
    is_shared=True,
    max_message_bytes=_MESSAGE_BYTES,
    unused={"store_min_free": "the disk of a postgresql: store is the database's"},
    index_path=_index_path,
    migrate=_migrated,
)
