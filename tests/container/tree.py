"""What is in the image under test; `prixfixe.verify.tree` reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prixfixe.verify.tree import Layer, Tree, layers_in, tree_in
from tests.container import engine

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Layer", "Tree", "config_of", "history_of", "layers_of", "tree_of"]

_CHUNK = 1 << 20


def tree_of(image: str) -> Tree:
    """Return the tree of a container that never ran."""
    container = engine.client().containers.create(image, ["version"], labels=engine.labels())
    try:
        octets = b"".join(container.export(chunk_size=_CHUNK))
    finally:
        container.remove(v=True)
    return tree_in(octets)


def layers_of(image: str) -> list[Layer]:
    """Return the layers, lowest first, as `docker save` writes them."""
    octets = b"".join(engine.client().images.get(image).save(chunk_size=_CHUNK))
    return layers_in(octets)


def config_of(image: str) -> dict[str, Any]:
    """Return the image's configuration."""
    return dict(engine.client().images.get(image).attrs["Config"])


def history_of(image: str) -> Iterator[str]:
    """Yield how each layer was made."""
    for row in engine.client().images.get(image).history():
        yield str(row["CreatedBy"])
