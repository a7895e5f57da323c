"""What is in an image: its file tree as one sees it, and every layer as it is shipped.

Owns: reading `docker export` and `docker save`. Promises: names are paths without a leading slash;
nothing that the engine adds to a container is among them. Refuses: judging.
"""

from __future__ import annotations

import io
import json
import posixpath
import tarfile
import zlib
from typing import TYPE_CHECKING, Any

from tests.container import engine

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Layer", "Tree", "config_of", "history_of", "layers_of", "tree_of"]

# Made by the engine in each container, in no layer.
_MADE = (".dockerenv", "dev", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf")
_CHUNK = 1 << 20
_GZIP_LEVEL = 6  # what engines push with


class Tree:
    """An index over a tar: members by path, contents on demand."""

    def __init__(self, octets: bytes, *, made: tuple[str, ...] = ()) -> None:
        self._tar = tarfile.open(fileobj=io.BytesIO(octets))  # noqa: SIM115 - read while it is used
        names = ((one.name.removeprefix("./").strip("/"), one) for one in self._tar)
        self.members = {name: one for name, one in names if name and not _is_below(name, made)}

    def files(self) -> dict[str, tarfile.TarInfo]:
        """Return the regular files, hard links included."""
        return {name: one for name, one in self.members.items() if one.isreg() or one.islnk()}

    def read(self, name: str) -> bytes:
        """Return a file's octets; links are followed."""
        member = self.members[name]
        if member.issym():
            target = posixpath.join("/", posixpath.dirname(name), member.linkname)
            return self.read(posixpath.normpath(target).lstrip("/"))
        found = self._tar.extractfile(member)
        assert found is not None, f"{name} is no file"
        return found.read()

    def text(self, name: str) -> str:
        """Return a file's text."""
        return self.read(name).decode()

    def octets(self) -> int:
        """Return the sum of the sizes of all regular files."""
        return sum(one.size for one in self.files().values())


class Layer(Tree):
    """One layer; `compressed` is its size as gzip ships it."""

    def __init__(self, octets: bytes) -> None:
        raw = zlib.decompress(octets, 47) if octets[:2] == b"\x1f\x8b" else octets
        super().__init__(raw)
        squeeze = zlib.compressobj(_GZIP_LEVEL, wbits=31)
        self.compressed = len(squeeze.compress(raw)) + len(squeeze.flush())


def _is_below(name: str, folders: tuple[str, ...]) -> bool:
    return any(name == one or name.startswith(f"{one}/") for one in folders)


def tree_of(image: str) -> Tree:
    """Return the tree of a container that never ran."""
    container = engine.client().containers.create(image, ["version"], labels=engine.labels())
    try:
        octets = b"".join(container.export(chunk_size=_CHUNK))
    finally:
        container.remove(v=True)
    return Tree(octets, made=_MADE)


def layers_of(image: str) -> list[Layer]:
    """Return the layers, lowest first, as `docker save` writes them."""
    octets = b"".join(engine.client().images.get(image).save(chunk_size=_CHUNK))
    with tarfile.open(fileobj=io.BytesIO(octets)) as saved:
        manifest = json.loads(_member(saved, "manifest.json"))
        return [Layer(_member(saved, name)) for name in manifest[0]["Layers"]]


def _member(saved: tarfile.TarFile, name: str) -> bytes:
    found = saved.extractfile(name)
    assert found is not None, name
    return found.read()


def config_of(image: str) -> dict[str, Any]:
    """Return the image's configuration."""
    return dict(engine.client().images.get(image).attrs["Config"])


def history_of(image: str) -> Iterator[str]:
    """Yield how each layer was made."""
    for row in engine.client().images.get(image).history():
        yield str(row["CreatedBy"])
