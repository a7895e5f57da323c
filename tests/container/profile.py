"""The hardened profile: the docker-py options with which the tests run containers.

Each call returns a new copy, in which a test may relax options by name.
"""

from __future__ import annotations

from typing import Any

from docker.types import Ulimit

__all__ = [
    "LEAST_MEMORY",
    "LEAST_NOFILE",
    "LEAST_PIDS",
    "MAIL",
    "MEMORY",
    "NOFILE",
    "PIDS",
    "hardened",
    "mail_on_tmpfs",
]

MEMORY = "64m"  # one limit for memory and swap together: no swap
PIDS = 16
NOFILE = 256
MAIL = "/var/mail"
# The least that is promised to do, for the server, its probe and one command beside it.
LEAST_MEMORY, LEAST_PIDS, LEAST_NOFILE = "48m", 12, 40


def hardened(**relaxed: Any) -> dict[str, Any]:
    """Return docker-py's options of the profile; a value of None takes one away."""
    options: dict[str, Any] = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": PIDS,
        "mem_limit": MEMORY,
        "memswap_limit": relaxed.get("mem_limit", MEMORY),
        "ulimits": [Ulimit(name="nofile", soft=NOFILE, hard=NOFILE)],
        "tmpfs": {"/tmp": "size=1m,mode=1777"},
        **relaxed,
    }
    return {name: value for name, value in options.items() if value is not None}


def mail_on_tmpfs(size: str, owner: str = "1000:0") -> dict[str, dict[str, str]]:
    """Return the option that keeps mail in memory, for tests that need a small or a lost disk."""
    uid, _, gid = owner.partition(":")
    mail = f"size={size},uid={uid},gid={gid},mode=0770"
    return {"tmpfs": {"/tmp": "size=1m,mode=1777", MAIL: mail}}
