"""Check that a deployed container has only the rights that interface.md gives it.

It checks what the engine was asked for and what the kernel reports, for compose and run.sh alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.container.deployed import Deployment

__all__ = ["check", "check_asked"]

MEMORY = 256 * 1024 * 1024


def check(deployed: Deployment) -> None:
    """Fail on the first right too many or limit too few."""
    check_asked(deployed)
    _check_kernel(deployed)


def check_asked(deployed: Deployment) -> None:
    """Fail likewise, of a container that need not run: by what the engine was asked for."""
    attrs = deployed.container.attrs
    host, config = attrs["HostConfig"], attrs["Config"]
    expected = {
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "PidsLimit": 64,
        "Memory": MEMORY,
        "MemorySwap": MEMORY,
        "NanoCpus": 10**9,
        "Tmpfs": {"/tmp": "size=16m,mode=1777,noexec,nosuid,nodev"},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        "Privileged": False,
        "PidMode": "",
        "IpcMode": "private",
        "UTSMode": "",
    }
    assert {name: host[name] for name in expected} == expected
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert not host["CapAdd"]
    assert not host["Devices"]
    assert host["NetworkMode"] not in ("", "default", "bridge", "host")
    _check_bindings(host["PortBindings"])
    assert config["User"] == "1000:1000"
    assert config["StopTimeout"] >= 8 + 10  # the server's own deadline, and some to spare
    mounts = {one["Destination"]: (one["Type"], one["RW"]) for one in attrs["Mounts"]}
    mounts.pop("/tmp", None)
    assert mounts == {"/var/mail": ("volume", True), "/run/secrets": ("bind", False)}


def _check_bindings(bindings: dict[str, list[dict[str, str]]]) -> None:
    assert len(bindings) == 2
    for ends in bindings.values():
        assert [one["HostIp"] for one in ends] == ["127.0.0.1"]


def _check_kernel(deployed: Deployment) -> None:
    lines = deployed.ask("print(open('/proc/1/status').read())").splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    assert status["Uid"] == status["Gid"] == ["1000"] * 4
    assert int(status["CapBnd"][0], 16) == 0
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2"]
    mounts = deployed.ask("print(open('/proc/1/mounts').read())").splitlines()
    options = {line.split()[1]: line.split()[3].split(",") for line in mounts if line}
    assert "ro" in options["/"]
    assert {"noexec", "nosuid", "nodev"} <= set(options["/tmp"])
    assert "ro" in options["/run/secrets"]
