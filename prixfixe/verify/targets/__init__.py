"""Targets: `docker://IMAGE` or a bare name, `compose://FILE#SERVICE`, `cmd://…`, `tcp://HOST:PORT`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.verify.targets.base import Source

__all__ = ["TargetError", "source_of"]


class TargetError(ValueError):
    """A target's text is wrong."""


def source_of(text: str) -> Source:
    """Return the source that a text names.

    Raises:
        TargetError: the text is no target.
        EnvironmentFault: what it names cannot be had here.

    """
    kind, found, rest = text.partition("://")
    if not found:
        kind, rest = "docker", text
    if kind not in _KINDS or not rest:
        msg = f"target {text!r}: expected docker://IMAGE, compose://FILE#SERVICE, cmd://COMMAND or tcp://HOST:PORT"
        raise TargetError(msg)
    return _KINDS[kind](rest)


def _docker(rest: str) -> Source:
    from prixfixe.verify.targets.docker import DockerSource

    return DockerSource(rest)


def _compose(rest: str) -> Source:
    from prixfixe.verify.targets.compose import ComposeSource

    file, _, service = rest.partition("#")
    if not service:
        msg = f"target compose://{rest}: expected compose://FILE#SERVICE"
        raise TargetError(msg)
    return ComposeSource(file, service)


def _cmd(rest: str) -> Source:
    from prixfixe.verify.targets.cmd import CmdSource

    return CmdSource(rest)


def _tcp(rest: str) -> Source:
    from prixfixe.verify.targets.tcp import TcpSource

    host, _, port = rest.rstrip("/").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        msg = f"target tcp://{rest}: expected tcp://HOST:PORT"
        raise TargetError(msg)
    return TcpSource(host.strip("[]"), int(port))


_KINDS: dict[str, Callable[[str], Source]] = {
    "docker": _docker,
    "compose": _compose,
    "cmd": _cmd,
    "tcp": _tcp,
}
