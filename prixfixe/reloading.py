"""What the rooms share that read a file again while the server runs.

Owns: telling that a file is another one than before, and the result of reading it again.
Promises: symbolic links are followed, so a swapped directory as in Kubernetes is seen.
Refuses: reading, and deciding when to look.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

__all__ = ["ReloadResult", "Stamp", "stamp"]

Stamp = tuple[int, ...] | None  # None: there is no such file, or we may not see it.


class ReloadResult(NamedTuple):
    """Whether what was read is now in use, and if not, why."""

    ok: bool
    reason: str = ""


def stamp(path: str) -> Stamp:
    """Return a value that differs when the file at `path` was written, replaced or opened to us."""
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    # The change time also moves when only rights do (chmod, chown).
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
