"""The tables: make them, bring them up to date, and see that they are there and may be used.

Changes are forward only and additive, so that servers of the version before go on meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prixfixe.stores.base import StoreOpenError

if TYPE_CHECKING:
    from prixfixe.stores.postgresql.cluster import Session

__all__ = ["VERSION", "check", "migrate", "version_of"]

VERSION = 1
_LOCK = 0x70667866
_TABLES = ("prixfixe_mail", "prixfixe_gone", "prixfixe_said", "prixfixe_schema")
# Every change of the schema, from nothing. `xid` is the transaction that wrote a row: whoever
# knows below which one all was finished asks for those above, and misses nothing (a sequence would
# skip what is committed late). `gone` has what was deleted, for a while. `said` is what people say.
_STEPS = (
    """
    CREATE TABLE prixfixe_mail(
        id text COLLATE "C" PRIMARY KEY,
        received_at float8 NOT NULL,
        size int NOT NULL,
        crc bigint NOT NULL,
        attempt int NOT NULL DEFAULT 0,
        server text NOT NULL DEFAULT '',
        xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
        envelope text NOT NULL,
        body bytea NOT NULL
    );
    ALTER TABLE prixfixe_mail ALTER COLUMN body SET STORAGE EXTERNAL;
    CREATE INDEX prixfixe_mail_xid ON prixfixe_mail(xid);
    CREATE TABLE prixfixe_gone(
        id text COLLATE "C" NOT NULL,
        xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
        at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX prixfixe_gone_xid ON prixfixe_gone(xid);
    CREATE TABLE prixfixe_said(
        id text COLLATE "C" PRIMARY KEY REFERENCES prixfixe_mail ON DELETE CASCADE,
        is_read bool,
        tags text,
        xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint
    );
    CREATE INDEX prixfixe_said_xid ON prixfixe_said(xid);
    CREATE TABLE prixfixe_schema(version int NOT NULL, oldest int NOT NULL);
    INSERT INTO prixfixe_schema VALUES(0, 1);
    """,
)
# A dump keeps numbers of transactions that another cluster may not have reached yet.
_REBASE = """
UPDATE {table} SET xid = 0
WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
"""
_IS_AHEAD = """
SELECT EXISTS(SELECT FROM prixfixe_mail
WHERE xid > pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
"""
_IS_THERE = "SELECT to_regclass('prixfixe_schema') IS NOT NULL"
_RIGHTS = """
SELECT name || ' (' || wanted || ')' FROM unnest($1::text[]) name,
unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) wanted
WHERE NOT has_table_privilege(name, wanted) AND (wanted = 'SELECT' OR name <> 'prixfixe_schema')
"""


async def version_of(connection: Any) -> tuple[int, int] | None:  # noqa: ANN401 - the driver's
    """Return the schema's version and the oldest that works with it; None without a schema."""
    if not await connection.fetchval(_IS_THERE):
        return None
    row = await connection.fetchrow("SELECT version, oldest FROM prixfixe_schema")
    return row["version"], row["oldest"]


async def migrate(connection: Any) -> tuple[int, int]:  # noqa: ANN401 - the driver's
    """Bring the schema to this version; return the version before and now.

    It is not held up by standbys: they get it like all else.
    """
    async with connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = local")
        await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        found = await version_of(connection)
        before = 0 if found is None else found[0]
        for step in _STEPS[before:]:
            await connection.execute(step)
        if before < VERSION:
            await connection.execute("UPDATE prixfixe_schema SET version = $1", VERSION)
        for table in ("prixfixe_mail", "prixfixe_gone", "prixfixe_said"):
            await connection.execute(_REBASE.format(table=table))
    return before, max(before, VERSION)


async def check(session: Session) -> None:
    """See that this server can work with what is there; make the tables where there are none.

    Raises:
        StoreOpenError: it cannot; the text names the remedy.

    """
    connection = session.connection
    if not await connection.fetchval(_IS_THERE):
        await migrate(connection)
        return
    await _check_rights(connection)
    version, oldest = await version_of(connection) or (0, 0)
    if version < VERSION:
        msg = f"the schema is of version {version}, and {VERSION} is needed: run `prixfixe migrate`"
        raise StoreOpenError(msg)
    if oldest > VERSION:
        msg = f"the schema is of version {version}, and needs a newer PrixFixe: update this server"
        raise StoreOpenError(msg)
    if await connection.fetchval(_IS_AHEAD):
        msg = "the tables come from a dump of another cluster: run `prixfixe migrate`"
        raise StoreOpenError(msg)


async def _check_rights(connection: Any) -> None:  # noqa: ANN401 - the driver's
    lacking = await connection.fetch(_RIGHTS, list(_TABLES))
    if lacking:
        names = ", ".join(row[0] for row in lacking)
        msg = f"the role lacks rights on {names}: GRANT them to it"
        raise StoreOpenError(msg)
