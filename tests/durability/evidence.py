"""List the messages of a store, read from its files or through a server's HTTP API.

Every message that is listed is also read whole. In the files, anything that is neither mail nor
part of the store's technology is reported as residue.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from prixfixe.stores.base import DamagedError, Recovery, StoreOptions
from prixfixe.stores.maildir.file import parse_name
from prixfixe.stores.registry import open_reader, open_store
from tests.durability.ledger import Evidence, Found, digest

if TYPE_CHECKING:
    from tests.conformance.targets import PrixFixeProcess

__all__ = ["from_api", "from_store", "path_of", "recover"]

# The index, which is made again from the mail, and what SQLite puts beside it.
INDEX_ENDS = ("", "-wal", "-shm", "-journal")


def path_of(url: str) -> Path:
    """Return the database file or the Maildir."""
    return Path(url.partition(":")[2])


def from_store(url: str) -> Evidence:
    """Read the files, whether a server runs or not."""
    evidence = Evidence(residue=_residue(url))
    reader = open_reader(url)
    try:
        ids = list(reader.ids())
        for name in ids:
            try:
                message = reader.get(name)
            except DamagedError as error:
                evidence.damaged.append(str(error))
                continue
            if message is None:
                evidence.damaged.append(f"{name} is listed and not there")
                continue
            names = tuple(each.address for each in message.envelope.recipients)
            found = Found(message.id, message.envelope.sender, names, digest(message.body))
            evidence.found.append(found)
            if message.id != name:
                evidence.damaged.append(f"{message.id} is listed as {name}")
        if reader.totals().messages != len(ids):
            evidence.damaged.append(f"{len(ids)} listed, {reader.totals().messages} counted")
    finally:
        reader.close()
    return evidence


def from_api(server: PrixFixeProcess) -> Evidence:
    """Ask the running server over HTTP."""
    return Evidence(
        [
            Found(each.facts["ID"], each.sender, each.recipients, digest(each.body))
            for each in server.messages()
        ]
    )


def _residue(url: str) -> list[str]:
    if url.startswith("postgresql:"):  # it leaves no files
        return []
    path = path_of(url)
    if url.startswith("sqlite:"):
        known = {path.name + end for end in ("", "-wal", "-shm", ".lock", ".reserve")}
        known |= {f"{path.name}.index{end}" for end in INDEX_ENDS}
        # What a power cut may leave of a last commit; a log called damaged is never due to one.
        known |= {f"{path.name}-wal.torn.{number}" for number in (1, 2, 3)}
        return sorted(each.name for each in path.parent.iterdir() if each.name not in known)
    known = {"tmp", "new", "cur", ".prixfixe.lock"}
    known |= {f".prixfixe.index{end}" for end in INDEX_ENDS}
    left = [each.name for each in path.iterdir() if each.name not in known]
    left += [f"tmp/{each.name}" for each in (path / "tmp").iterdir()]
    left += [f"new/{each.name}" for each in (path / "new").iterdir() if not parse_name(each.name)]
    return sorted(left)


def recover(url: str) -> Recovery:
    """Open the store in this process as a server would when it starts, and close it again."""

    async def open_and_close() -> Recovery:
        store = open_store(url, StoreOptions())
        recovery = await store.open()
        await store.close()
        return recovery

    return asyncio.run(open_and_close())
