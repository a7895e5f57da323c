"""Stores of other packages, installed as pip would: a module and the entry point that names it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["TOY", "install"]

TOY = """
from prixfixe.stores.technology import Technology

def _store(rest, options):
    from prixfixe.stores.memory import MemoryStore
    return MemoryStore(options)

TOY = Technology("toy:NAME", str.isalnum, _store, max_message_bytes=5_000_000,
                 unused={"store_min_free": "a toy: store writes to no disk"})
"""


def install(folder: Path, source: str = TOY, name: str = "toy", offer: str = "TOY") -> Path:
    """Put a package into a folder that is, or is going to be, on the path of imports."""
    (folder / f"{name}_store.py").write_text(source)
    about = folder / f"{name}_store-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-store\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[prixfixe.stores]\ntoy = {name}_store:{offer}\n")
    return folder
