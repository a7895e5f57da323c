"""Make a broken image from the image under test.

It edits the image's only layer and builds it again with the same configuration, so that the result
differs from the original only by the mutant. The Dockerfile uses ADD with a tar, which every
engine supports.
"""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from tests.container import engine
from tests.container.tree import config_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["COMMAND", "Mutant", "make"]

COMMAND = "usr/local/bin/prixfixe"
WHEELS = "usr/local/lib/python3.13/dist-packages"
# Before the command's last line, which runs it.
_MAIN = "sys.exit(main())"


@dataclass(frozen=True)
class Mutant:
    """One way to be broken.

    `red` are the tests that must fail, as pytest names them below this folder's parent. `code` is
    Python that runs before the server; `add` are files by path, `pipes` are named pipes; `modes` and
    `owners` are set on what is there; `drop` are beginnings of paths; `lines` are Dockerfile lines
    after all others, with `context` as the files they may copy.
    """

    why: str
    red: tuple[str, ...]
    code: str = ""
    add: dict[str, bytes] = field(default_factory=dict)
    pipes: tuple[str, ...] = ()
    modes: dict[str, int] = field(default_factory=dict)
    owners: dict[str, int] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    context: dict[str, bytes] = field(default_factory=dict)
    mtime: int = 0

    @property
    def is_still(self) -> bool:
        """Whether it shows without a container."""
        return not self.code


def make(original: str, mutant: Mutant | None) -> str:
    """Return the id of the broken image; the caller removes it."""
    layer = _layer_of(original)
    tree = layer if mutant is None else _edited(layer, mutant)
    lines = ["FROM scratch", "ADD tree.tar /", *_configuration(config_of(original))]
    files = {"tree.tar": tree}
    if mutant is not None:
        lines += mutant.lines
        files |= mutant.context
    return _built("\n".join(lines), files)


def _layer_of(image: str) -> bytes:
    saved = io.BytesIO(b"".join(engine.client().images.get(image).save()))
    with tarfile.open(fileobj=saved) as tar:
        manifest = json.load(_opened(tar, "manifest.json"))
        (name,) = manifest[0]["Layers"]
        return _opened(tar, name).read()


def _opened(tar: tarfile.TarFile, name: str) -> Any:
    found = tar.extractfile(name)
    assert found is not None, name
    return found


def _edited(layer: bytes, mutant: Mutant) -> bytes:
    after = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(layer)) as old,
        tarfile.open(fileobj=after, mode="w") as new,
    ):
        for member in old:
            if mutant.drop and member.name.startswith(mutant.drop):
                continue
            member.mode = mutant.modes.get(member.name, member.mode)
            member.uid = mutant.owners.get(member.name, member.uid)
            octets = _opened(old, member.name).read() if member.isreg() else b""
            if member.name == COMMAND and mutant.code:
                octets = _with_code(octets, mutant.code)
            _put(new, member, octets)
        for folder in _new_folders(old.getnames(), mutant.add):
            _put(new, _folder(folder), b"")
        for name, octets in mutant.add.items():
            member = tarfile.TarInfo(name)
            member.mode, member.mtime = mutant.modes.get(name, 0o644), mutant.mtime
            _put(new, member, octets)
        for name in mutant.pipes:
            _put(new, _pipe(name), b"")
    return after.getvalue()


def _new_folders(present: list[str], files: dict[str, bytes]) -> list[str]:
    """Return the folders these files need and the tree lacks; whoever unpacks would date them."""
    known = {name.strip("/") for name in present}
    parents = {str(folder) for name in files for folder in PurePosixPath(name).parents}
    return sorted(parents - known - {"."})


def _folder(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    return member


def _pipe(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.FIFOTYPE, 0o600
    return member


def _put(tar: tarfile.TarFile, member: tarfile.TarInfo, octets: bytes) -> None:
    if member.isreg():
        member.size = len(octets)
    tar.addfile(member, io.BytesIO(octets) if member.isreg() else None)


def _with_code(command: bytes, code: str) -> bytes:
    """Put the code where only a server runs it: the probe and the other commands stay sound."""
    before, found, _ = command.decode().rpartition(_MAIN)
    assert found, "the command does not end as expected"
    lines = [f"    {line}" for line in code.strip().splitlines()]
    guarded = "\n".join(['if sys.argv[1:] in ([], ["serve"]):', *lines])
    return f"{before}{guarded}\n{_MAIN}\n".encode()


def _configuration(config: dict[str, Any]) -> list[str]:
    """Return the Dockerfile lines that give an imported tree this configuration."""
    check = config["Healthcheck"]
    times = " ".join(
        f"--{name}={check[key] // 1_000_000}ms"
        for name, key in (
            ("interval", "Interval"),
            ("timeout", "Timeout"),
            ("start-period", "StartPeriod"),
        )
    )
    words: Callable[[Any], str] = json.dumps
    return [
        *(
            f"ENV {name}={words(value)}"
            for name, _, value in (e.partition("=") for e in config["Env"])
        ),
        *(f"LABEL {words(name)}={words(value)}" for name, value in config["Labels"].items()),
        *(f"EXPOSE {port}" for port in config["ExposedPorts"]),
        f"USER {config['User']}",
        f"STOPSIGNAL {config['StopSignal']}",
        f"HEALTHCHECK {times} --retries={check['Retries']} CMD {words(check['Test'][1:])}",
        f"ENTRYPOINT {words(config['Entrypoint'])}",
        f"CMD {words(config['Cmd'])}",
    ]


def _built(dockerfile: str, files: dict[str, bytes]) -> str:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, octets in {"Dockerfile": dockerfile.encode(), **files}.items():
            _put(tar, tarfile.TarInfo(name), octets)
    context.seek(0)
    image, _log = engine.client().images.build(
        fileobj=context, custom_context=True, rm=True, forcerm=True
    )
    return str(image.id)
