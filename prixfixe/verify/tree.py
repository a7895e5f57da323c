"""What is in an image: its file tree as one sees it, and every layer as it is shipped.

It reads what `docker export` and `docker save` write. Names are paths without a leading slash, and
nothing that the engine adds to a container is among them.
"""

from __future__ import annotations

import io
import json
import posixpath
import re
import tarfile
import zlib
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Layer",
    "Tree",
    "gaining_rights",
    "hidden_or_replaced",
    "layers_in",
    "named_secrets",
    "private_keys",
    "tree_in",
    "writable_by_all",
]

# Made by the engine in each container, in no layer.
_MADE = (".dockerenv", "dev", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf")
_GZIP_LEVEL = 6  # what engines push with
_SMALL = 100_000  # bytes; no key is larger
_PRIVATE_KEY = re.compile(rb"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{30}")
_SECRET = re.compile(r"(?i)(password|passwd|secret|token|api_?key)\s*[=:]\s*\S|://\w+:[^@/\s]+@")


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
        if found is None:
            raise KeyError(name)
        return found.read()

    def head(self, name: str, size: int = 64) -> bytes:
        """Return the first octets of a regular file."""
        found = self._tar.extractfile(self.members[name])
        return b"" if found is None else found.read(size)

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


def tree_in(exported: bytes) -> Tree:
    """Return the tree of what `docker export` wrote."""
    return Tree(exported, made=_MADE)


def layers_in(saved: bytes) -> list[Layer]:
    """Return the layers of what `docker save` wrote, lowest first."""
    with tarfile.open(fileobj=io.BytesIO(saved)) as tar:
        manifest = json.loads(_member(tar, "manifest.json"))
        return [Layer(_member(tar, name)) for name in manifest[0]["Layers"]]


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    found = tar.extractfile(name)
    if found is None:
        raise KeyError(name)
    return found.read()


# --- what should not be there


def gaining_rights(tree: Tree) -> list[str]:
    """Return the files that are setuid or setgid, or have capabilities."""
    marked = [name for name, one in tree.files().items() if one.mode & 0o6000]
    return marked + [
        name
        for name, one in tree.members.items()
        if any("security.capability" in key for key in one.pax_headers)
    ]


def writable_by_all(tree: Tree) -> set[str]:
    """Return what anybody may write."""
    return {name for name, one in tree.members.items() if one.mode & 0o002 and not one.issym()}


def hidden_or_replaced(layers: Iterable[Layer]) -> list[str]:
    """Return the files that several layers carry, and those that one removes."""
    files = Counter(name for layer in layers for name in layer.files())
    return [name for name, count in files.items() if count > 1 or ".wh." in name]


def private_keys(layers: Iterable[Layer], but: str | tuple[str, ...] = "\0") -> list[str]:
    """Return the files of all layers with a private key in them, but those below `but`."""
    return [
        name
        for layer in layers
        for name, member in layer.files().items()
        if member.isreg() and member.size < _SMALL and not name.startswith(but)
        if _PRIVATE_KEY.search(layer.read(name))
    ]


def named_secrets(texts: Iterable[str]) -> list[str]:
    """Return the texts of history, environment and labels that give a secret away."""
    return [one for one in texts if _SECRET.search(one)]
