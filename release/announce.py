"""The GitHub release of a tag: what changed, the image by its digest, and the files beside it.

    python -m release.announce FILE...

The tag is GITHUB_REF_NAME, what changed is what `release.notes` wrote. IMAGE is the image's name
and DIGEST that of its index: a tag can be moved, a digest cannot. Exit codes: gh's, and 1 when the
digest is none.
"""

from __future__ import annotations

import os
import subprocess
import sys

from prixfixe import __version__
from release.index import DIGEST
from release.notes import OUT

__all__ = ["main", "with_image"]


def with_image(notes: str, image: str, digest: str) -> str:
    """Return the notes with the image that was published."""
    if not DIGEST.fullmatch(digest):
        sys.exit(f"release.announce: DIGEST={digest!r}: expected the digest of the image")
    return f"{notes}\n### Image\n\n- `{image}:{__version__}` is `{image}@{digest}`\n"


def main(files: list[str]) -> int:
    """Make the release, return gh's exit code."""
    OUT.write_text(with_image(OUT.read_text(), os.environ["IMAGE"], os.environ.get("DIGEST", "")))
    tag = os.environ["GITHUB_REF_NAME"]
    options = ("--verify-tag", "--title", tag, "--notes-file", str(OUT))
    return subprocess.run(
        ["gh", "release", "create", tag, *options, *files], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
