"""Postfix that queues every message on disk and then discards it.

It is an instance of its own below the given folder, so the machine's own Postfix is not touched.
Limits that would slow a single busy client are off. Postfix has to be started by root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import psutil

from tests.bench.rivals.base import NotStartedError, Rival, Running, awaited, free_port, greets

__all__ = ["Postfix", "postfix_version"]

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
myhostname = postfix.example.com
mydestination =
alias_maps =
local_recipient_maps =
default_transport = discard:
relay_transport = discard:
relay_domains =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
disable_dns_lookups = yes
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
in_flow_delay = 0
message_size_limit = 0
"""
MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


def postfix_version() -> str:
    """Return the version of the installed Postfix, whose smtp-sink and smtp-source are used too."""
    asked = ["postconf", "-dh", "mail_version"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip()


class Postfix(Rival):
    """An instance of the installed Postfix."""

    key = "postfix"
    title = "Postfix (queued on disk, then discarded)"
    program = "Postfix and its tools"

    def missing(self) -> str:
        if not shutil.which("postfix"):
            return "Postfix is not installed"
        return "" if os.geteuid() == 0 else "Postfix has to be started by root"

    def version(self) -> str:
        return postfix_version()

    def start(self, folder: Path, **settings: str) -> Running:
        return _Instance(folder)


class _Instance(Running):
    def __init__(self, folder: Path) -> None:
        port = free_port()
        self._config = folder / "etc"
        self._config.mkdir()
        (folder / "queue").mkdir()
        (folder / "data").mkdir()
        shutil.chown(folder / "data", "postfix")
        (self._config / "main.cf").write_text(MAIN.format(folder=folder))
        (self._config / "master.cf").write_text(MASTER.format(port=port))
        began = time.perf_counter()
        self._command("start")
        self.address = awaited(lambda: greets(port))
        self.seconds = time.perf_counter() - began
        self._pid = int((folder / "queue/pid/master.pid").read_text())

    def _command(self, verb: str) -> None:
        command = ["postfix", "-c", str(self._config), verb]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise NotStartedError(done.stdout + done.stderr)

    def root(self) -> psutil.Process:
        return psutil.Process(self._pid)

    def stop(self) -> None:
        processes = self.processes()
        self._command("stop")
        psutil.wait_procs(processes, timeout=20)
