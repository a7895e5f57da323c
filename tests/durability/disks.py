"""Mount disks that can be filled, made read-only, or lose their power.

Each file system is a tmpfs or an ext4 image of its own, so no other file system is harmed. The
mount and the loop device are removed at the end, also after an error.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.durability.waiting import until

__all__ = ["LoopDisk", "filled", "loop_disk", "remount", "small_disk", "why_not"]

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32)
_NO_LOG_FLUSH = 2  # the journal in memory is lost too, as with the power


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


@functools.cache
def why_not() -> str:
    """Return why an ext4 image cannot be mounted here, or nothing."""
    if os.geteuid() != 0:
        return "only root can mount a disk"
    missing = [
        each for each in ("mkfs.ext4", "losetup", "mount", "umount") if shutil.which(each) is None
    ]
    if missing:
        return f"{missing[0]} is not installed"
    try:
        with tempfile.TemporaryDirectory() as folder, loop_disk(Path(folder), "8M"):
            return ""
    except OSError as error:
        return f"a loop device cannot be mounted here: {error}"


class LoopDisk:
    """An ext4 image on a loop device, and where it is mounted.

    The device stays through every mount: one that is let go with the mount may still be going
    when the next mount takes it.
    """

    def __init__(self, folder: Path, size: str, *options: str) -> None:
        self.image, self.path = folder / "disk.img", folder / "disk"
        self.path.mkdir()
        _run("truncate", "-s", size, self.image)
        _run("mkfs.ext4", "-q", "-m", "0", *options, self.image)
        self.device = _run("losetup", "--find", "--show", self.image)

    @property
    def _kernel(self) -> Path:
        return Path("/sys/fs/ext4") / Path(self.device).name

    def mount(self, options: str = "rw") -> None:
        """Mount; after a power cut the journal is replayed."""
        _run("mount", "-o", options, self.device, self.path)

    def unmount(self) -> None:
        """Unmount, and wait until the kernel has let the file system go.

        A container that starts holds a copy of every mount for a moment, and what is mounted again
        then is the file system that was shut down.
        """
        _run("umount", self.path)
        until(lambda: not self._kernel.exists())
        if self._kernel.exists():
            raise OSError(f"{self.device} is still in use")

    def check(self) -> None:
        """Mend what the last use left, as a start of the machine would."""
        subprocess.run(["e2fsck", "-fy", self.device], check=False, capture_output=True)

    def detach(self) -> None:
        """Unmount if that is needed, and let the device go."""
        if os.path.ismount(self.path):
            subprocess.run(["umount", self.path], check=False, capture_output=True)
        if os.path.ismount(self.path):
            _run("umount", "-l", self.path)
        _run("losetup", "--detach", self.device)
        self.image.unlink()

    def give_to(self, user: int) -> None:
        """Let a user write here, and have that on disk."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        os.fchown(descriptor, user, user)
        os.fsync(descriptor)
        os.close(descriptor)

    def cut_power(self) -> None:
        """Lose what is not on the disk: nothing is written from this moment on."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def fail(self) -> None:
        """Have the file system find an error and go read-only (mounted with errors=remount-ro)."""
        (self._kernel / "trigger_fs_error").write_text("test")


@contextlib.contextmanager
def loop_disk(folder: Path, size: str = "64M", *options: str) -> Iterator[LoopDisk]:
    """Make, mount, and take away an ext4 disk."""
    disk = LoopDisk(folder, size, *options)
    try:
        disk.mount()
        yield disk
    finally:
        disk.detach()


@contextlib.contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs. Raises `OSError` where that is not allowed."""
    folder.mkdir()
    _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", folder)
    try:
        yield folder
    finally:
        _run("umount", "-l", folder)


def remount(folder: Path, options: str) -> None:
    """Change the options of a mount."""
    _run("mount", "-o", f"remount,{options}", folder)


@contextlib.contextmanager
def filled(folder: Path, blocks_left: int) -> Iterator[None]:
    """Leave so many blocks free."""
    filler = folder / ".filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT, 0o600)
    block = os.statvfs(folder).f_frsize
    try:
        _fill(descriptor, block)
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - blocks_left * block)
        os.fsync(descriptor)
        yield
    finally:
        os.close(descriptor)
        filler.unlink()


def _fill(descriptor: int, block: int) -> None:
    """Write until nothing more fits; delayed allocation shows it at the sync."""
    for octets in (64 * block, block):
        with contextlib.suppress(OSError):
            while True:
                os.write(descriptor, bytes(octets))
    with contextlib.suppress(OSError):
        os.fsync(descriptor)
