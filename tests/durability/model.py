"""A model of a disk that loses whatever was not synced, driven by traced system calls.

The data and size of a file are certain after its fsync or fdatasync (or a write through O_SYNC or
O_DSYNC), a name is certain after fsync of its folder, and syncfs or sync makes everything certain.
Any part of the rest may survive a power cut, in any order: each name by itself, and each write in
pieces of 4096 bytes. After a failed sync the data written before it is lost, and a later sync does
not bring it back, as on Linux. A call on a file of the store that the model does not know is an
`UnknownCallError`. SQLite's `-shm` file is left out, because it is never read after a crash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.durability.calls import Call

__all__ = ["Disk", "Image", "UnknownCallError"]

# What a disk looks like: the content of each file, None for a folder.
Image = dict[str, bytes | None]
PIECE_OCTETS = 4096
VOLATILE = "-shm"

_HARMLESS = frozenset(
    [
        "read",
        "pread64",
        "readv",
        "preadv",
        "lseek",
        "fstat",
        "newfstatat",
        "stat",
        "lstat",
        "statx",
        "access",
        "faccessat",
        "faccessat2",
        "statfs",
        "fstatfs",
        "getdents64",
        "fcntl",
        "flock",
        "ioctl",
        "readlink",
        "getcwd",
        "fadvise64",
        "chdir",
        "getxattr",
        "lgetxattr",
        "fgetxattr",
        "fchown",
        "chmod",
        "fchmod",
        "fchmodat",
        "utimensat",
        "epoll_ctl",
        "execve",
    ]
)
_REPLY = re.compile(rb"250 2\.0\.0 OK queued as (\S+)")


class UnknownCallError(Exception):
    """The process did something to the store that the model cannot judge."""


@dataclass(frozen=True)
class _Write:
    """Data at a place in a file; without data, a new size."""

    at: int
    data: bytes | None = None

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.at :]
        content.extend(bytes(max(0, self.at - len(content))))
        if self.data is not None:
            content[self.at : self.at + len(self.data)] = self.data

    def pieces(self) -> Iterator[_Write]:
        """Yield what of a write may reach the disk by itself."""
        if self.data is None:
            yield self
            return
        at = self.at
        while at < self.at + len(self.data):
            end = min((at // PIECE_OCTETS + 1) * PIECE_OCTETS, self.at + len(self.data))
            yield _Write(at, self.data[at - self.at : end - self.at])
            at = end


@dataclass(eq=False)
class _Node:
    """A file or a folder: how it is, how it surely is, and what may or may not be."""

    is_folder: bool = False
    content: bytearray = field(default_factory=bytearray)
    synced: bytearray = field(default_factory=bytearray)
    names: dict[str, _Node] = field(default_factory=dict)
    synced_names: dict[str, _Node] = field(default_factory=dict)
    pending: list[_Write | tuple[str, _Node | None]] = field(default_factory=list)

    def write(self, write: _Write) -> None:
        write.apply(self.content)
        self.pending.append(write)

    def name(self, name: str, node: _Node | None) -> None:
        _set(self.names, name, node)
        self.pending.append((name, node))

    def sync(self) -> None:
        for change in self.pending:
            if isinstance(change, _Write):
                change.apply(self.synced)
            else:
                _set(self.synced_names, *change)
        self.pending.clear()

    def sync_failed(self) -> None:
        """Forget what was not on disk; only the process goes on seeing it."""
        self.pending.clear()


def _set(names: dict[str, _Node], name: str, node: _Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


@dataclass
class _Open:
    """An open file: several descriptors never share one here."""

    node: _Node
    flags: str
    at: int = 0


class Disk:
    """The folder `root`, empty and synced at the start."""

    def __init__(self, root: str) -> None:
        self.root = PurePosixPath(root)
        self.top = _Node(is_folder=True)
        self.events: list[str] = []  # what was done to the store, in words
        self._open: dict[int, _Open] = {}
        self._owners: set[int] = set()  # threads that touched the store
        self._nodes = [self.top]

    # --- what happened

    def apply(self, call: Call) -> list[str]:
        """Take one call; return the ids it acknowledged to a client."""
        if call.name.startswith("io_uring"):
            self._refuse_ring(call)
            return []
        if call.name in ("write", "send", "sendto", "sendmsg", "writev") and call.is_ok:
            ids = [each.decode() for text in call.strings for each in _REPLY.findall(text)]
            if ids and not self._is_ours(call):
                self.events.append("250")
                return ids
        handler = getattr(self, f"_do_{call.name}", None)
        if handler is not None:
            handler(call)
        elif call.name not in _HARMLESS and call.is_ok and self._is_ours(call):
            raise UnknownCallError(f"{call.name}({call.text[:200]})")
        return []

    def _refuse_ring(self, call: Call) -> None:
        """The event loop has a ring for its sockets; a thread that touches the store may not."""
        if call.task in self._owners:
            raise UnknownCallError(f"{call.name} by a thread that writes the store")

    def _is_ours(self, call: Call) -> bool:
        descriptor = re.match(r"(\d+)(?=,|$)", call.text)
        if descriptor and int(descriptor[1]) in self._open:
            return True
        return any(self._inside(each.decode(errors="replace")) for each in self._paths(call))

    @staticmethod
    def _paths(call: Call) -> list[bytes]:
        return [each for each in call.strings if each.startswith(b"/")]

    def _inside(self, path: str) -> bool:
        return PurePosixPath(path).is_relative_to(self.root) and not path.endswith(VOLATILE)

    def _path(self, call: Call, which: int = 0) -> str | None:
        paths = [each.decode() for each in call.strings]
        path = paths[which] if which < len(paths) else ""
        return path if self._inside(path) else None

    def _find(self, path: str) -> tuple[_Node, str]:
        """Return the folder a path is in and its last name."""
        node = self.top
        parts = PurePosixPath(path).relative_to(self.root).parts
        for part in parts[:-1]:
            node = node.names[part]
        return node, parts[-1] if parts else ""

    def _node(self, path: str) -> _Node:
        folder, name = self._find(path)
        return folder.names[name] if name else folder

    def _add(self, node: _Node) -> _Node:
        self._nodes.append(node)
        return node

    def _say(self, what: str, node: _Node) -> None:
        self.events.append(f"{what} {self._name_of(node)}")

    def _name_of(self, node: _Node) -> str:
        def search(folder: _Node, path: str) -> str | None:
            for name, each in folder.names.items():
                if each is node:
                    return path + name
                found = search(each, f"{path}{name}/") if each.is_folder else None
                if found:
                    return found
            return None

        return "." if node is self.top else search(self.top, "") or "(no name)"

    # --- descriptors

    def _do_openat(self, call: Call) -> None:
        path = self._path(call)
        if path is None or not call.is_ok:
            self._open.pop(call.result, None)
            return
        flags = call.text
        folder, name = self._find(path)
        node = folder.names.get(name) if name else folder
        if "O_TMPFILE" in flags:
            node = self._add(_Node())
        elif node is None:
            node = self._add(_Node())
            folder.name(name, node)
            self._say("create", node)
        elif "O_TRUNC" in flags and node.content:
            node.write(_Write(0))
        if "O_DIRECTORY" not in flags or "O_TMPFILE" in flags:
            self._owners.add(call.task)
        at = len(node.content) if "O_APPEND" in flags else 0
        self._open[call.result] = _Open(node, flags, at)

    def _do_open(self, call: Call) -> None:
        self._do_openat(call)

    def _do_creat(self, call: Call) -> None:
        raise UnknownCallError(call.name)

    def _opened(self, call: Call) -> _Open | None:
        descriptor = re.match(r"(\d+)", call.text)
        return self._open.get(int(descriptor[1])) if descriptor else None

    def _do_close(self, call: Call) -> None:
        self._open.pop(int(call.text), None)

    def _do_lseek(self, call: Call) -> None:
        opened = self._opened(call)
        if opened is not None and call.is_ok:
            opened.at = call.result

    def _do_read(self, call: Call) -> None:
        opened = self._opened(call)
        if opened is not None and call.is_ok:
            opened.at += call.result

    def _do_dup(self, call: Call) -> None:
        if self._opened(call) is not None:
            raise UnknownCallError(call.name)

    _do_dup2 = _do_dup3 = _do_dup

    def _do_fcntl(self, call: Call) -> None:
        if self._opened(call) is not None and "F_DUPFD" in call.text:
            raise UnknownCallError(f"fcntl({call.text})")

    def _do_mmap(self, call: Call) -> None:
        descriptor = re.search(r", (\d+), (?:0x)?[0-9a-f]+$", call.text)
        is_ours = descriptor is not None and int(descriptor[1]) in self._open
        if is_ours and "PROT_WRITE" in call.text and "MAP_SHARED" in call.text:
            raise UnknownCallError(f"mmap({call.text})")

    # --- data

    def _do_write(self, call: Call) -> None:
        opened = self._opened(call)
        if opened is None or not call.is_ok:
            return
        if "O_APPEND" in opened.flags:
            opened.at = len(opened.node.content)
        self._written(opened, opened.at, b"".join(call.strings)[: call.result])
        opened.at += call.result

    _do_writev = _do_write

    def _do_pwrite64(self, call: Call) -> None:
        opened = self._opened(call)
        if opened is not None and call.is_ok:
            self._written(opened, call.numbers[-1], call.strings[0][: call.result])

    def _written(self, opened: _Open, at: int, data: bytes) -> None:
        self._say("write", opened.node)
        opened.node.write(_Write(at, data))
        if "O_DSYNC" in opened.flags or re.search(r"\bO_SYNC\b", opened.flags):
            opened.node.sync()

    def _do_ftruncate(self, call: Call) -> None:
        opened = self._opened(call)
        if opened is not None and call.is_ok:
            opened.node.write(_Write(call.numbers[-1]))

    def _do_fallocate(self, call: Call) -> None:
        opened = self._opened(call)
        if opened is None or not call.is_ok:
            return
        start, octets = call.numbers[-2:]
        if "FALLOC_FL" in call.text:
            raise UnknownCallError(f"fallocate({call.text})")
        if start + octets > len(opened.node.content):
            opened.node.write(_Write(start + octets))

    def _do_copy_file_range(self, call: Call) -> None:
        """Refuse data that comes from another descriptor: it is not in the trace."""
        if any(each in self._open for each in call.numbers[:3]):
            raise UnknownCallError(f"{call.name}({call.text})")

    _do_sendfile = _do_splice = _do_copy_file_range

    # --- certainty

    def _do_fsync(self, call: Call) -> None:
        opened = self._opened(call)
        if opened is None:
            return
        if call.is_ok:
            self._say("sync", opened.node)
            opened.node.sync()
        elif call.error in ("EIO", "ENOSPC", "EDQUOT"):
            self._say("sync failed", opened.node)
            opened.node.sync_failed()

    _do_fdatasync = _do_fsync

    def _do_syncfs(self, call: Call) -> None:
        if call.is_ok:
            self.events.append("sync all")
            for node in self._nodes:
                node.sync()

    _do_sync = _do_syncfs

    def _do_sync_file_range(self, call: Call) -> None:
        """Nothing: it promises neither the size nor the drive's cache."""

    # --- names

    def _do_mkdir(self, call: Call) -> None:
        path = self._path(call)
        if path is not None and call.is_ok:
            folder, name = self._find(path)
            folder.name(name, self._add(_Node(is_folder=True)))

    _do_mkdirat = _do_mkdir

    def _do_unlink(self, call: Call) -> None:
        path = self._path(call)
        if path is not None and call.is_ok:
            folder, name = self._find(path)
            self._say("remove", folder.names[name])
            folder.name(name, None)

    _do_unlinkat = _do_rmdir = _do_unlink

    def _do_rename(self, call: Call) -> None:
        old, new = self._path(call, 0), self._path(call, 1)
        if not call.is_ok or (old is None and new is None):
            return
        if old is None or new is None:
            raise UnknownCallError(f"rename({call.text})")
        node = self._node(old)
        old_folder, old_name = self._find(old)
        new_folder, new_name = self._find(new)
        new_folder.name(new_name, node)
        old_folder.name(old_name, None)
        self._say("rename to", node)

    _do_renameat = _do_renameat2 = _do_rename

    def _do_link(self, call: Call) -> None:
        new = self._path(call, len(call.strings) - 1)
        if new is None or not call.is_ok:
            return
        folder, name = self._find(new)
        node = self._linked(call)
        folder.name(name, node)
        self._say("link to", node)

    _do_linkat = _do_link

    def _linked(self, call: Call) -> _Node:
        """Return what a link is made to: a path, or a descriptor's file without a name."""
        old = call.strings[0].decode() if len(call.strings) > 1 else ""
        descriptor = re.fullmatch(r"/proc/(?:self|\d+)/fd/(\d+)", old)
        if descriptor is None and not old:
            descriptor = re.match(r"(\d+)", call.text)
        if descriptor is not None:
            return self._open[int(descriptor[1])].node
        return self._node(old)

    # --- what a power cut leaves

    def uncertain(self) -> list[str]:
        """Return what a power cut now might take of what has a name, in words."""
        found = []
        for node in self._nodes:
            name = self._name_of(node)
            if not node.is_folder and node.pending and name != "(no name)":
                found.append(f"data of {name}")
            found += [
                f"name {each} in {name}"
                for each, new in node.names.items()
                if node.synced_names.get(each) is not new
            ]
        return found

    def image(self, keep: Callable[[], bool] = lambda: False) -> Image:
        """Return what is left; `keep` decides on each thing that is not certain."""
        left: Image = {}
        self._draw(self.top, "", keep, left)
        return left

    def _draw(self, folder: _Node, path: str, keep: Callable[[], bool], left: Image) -> None:
        names = dict(folder.synced_names)
        for change in folder.pending:
            if not isinstance(change, _Write) and keep():
                _set(names, *change)
        for name, node in names.items():
            if node.is_folder:
                left[path + name] = None
                self._draw(node, f"{path}{name}/", keep, left)
            else:
                left[path + name] = _content(node, keep)


def _content(node: _Node, keep: Callable[[], bool]) -> bytes:
    content = bytearray(node.synced)
    for change in node.pending:
        for piece in change.pieces() if isinstance(change, _Write) else ():
            if keep():
                piece.apply(content)
    return bytes(content)
