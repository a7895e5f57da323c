"""OpenSMTPD that queues every message on disk and delivers none.

It runs Debian's package in a container; the image is built when it is missing. The container uses
the host's network, so that no proxy sits between generator and server, and listens on 127.0.0.1
only. `mta` is paused before the first message, which stops delivery.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.bench.rivals.base import NotStartedError, Rival, Running, free_port
from tests.bench.rivals.image import Container, docker, image_bytes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OpenSmtpd"]

BASE = "debian:trixie-slim"
IMAGE = "prixfixe-bench-opensmtpd"
CONFIG = """\
smtp limit max-mails 1000000
listen on 127.0.0.1 port {port}
action hold relay
match from any for any action hold
"""
DOCKERFILE = f"""\
FROM {BASE}
RUN apt-get update -qq \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \\
    ca-certificates opensmtpd \\
 && rm -rf /var/lib/apt/lists/* \\
 && install --directory --mode=711 /var/spool/smtpd
"""


class OpenSmtpd(Rival):
    """smtpd of Debian's opensmtpd in a container."""

    key = "opensmtpd"
    title = "OpenSMTPD, 5 connections (queued on disk, no fsync, held)"
    program = "OpenSMTPD"
    connections = 5  # its listen queue has that many places, and the generator knocks all at once

    def missing(self) -> str:
        return "" if image_bytes(IMAGE) or _build() else f"OpenSMTPD cannot be had on {BASE}"

    def version(self) -> str:
        asked = ("dpkg-query", "--show", "--showformat=${Version}", "opensmtpd")
        return docker("run", "--rm", "--network=none", IMAGE, *asked)

    def start(self, folder: Path, **settings: str) -> Running:
        port = free_port()
        config = folder / "smtpd.conf"
        config.write_text(CONFIG.format(port=port))
        names = folder / "resolv.conf"
        names.write_text("lookup file\n")  # else it asks DNS for the name of every client
        server = Container(
            IMAGE,
            port,
            "/var/spool/smtpd",
            "--network=host",
            f"--volume={config}:/etc/smtpd.conf:ro",
            f"--volume={names}:/etc/resolv.conf:ro",
            command=("smtpd", "-d"),
        )
        try:
            server.run("smtpctl", "pause", "mta")
        except NotStartedError:
            server.stop()
            raise
        return server


def _build() -> bool:
    """Make the image; the base image is pulled where it is not here."""
    words = ["docker", "build", "--quiet", "--network=host", f"--tag={IMAGE}", "-"]
    try:
        done = subprocess.run(words, input=DOCKERFILE, text=True, capture_output=True)
    except FileNotFoundError:
        return False
    return not done.returncode
