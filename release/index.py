"""One name for the images of all architectures.

    python -m release.index FOLDER

FOLDER holds a file per architecture, with the digest of its image in the repository that IMAGE
names. They become one index with the tags X.Y.Z, X.Y and latest of the package's version; a
pre-release gets its own tag alone. The digest of the index is handed on.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from prixfixe import __version__
from release.outputs import hand_on

__all__ = ["DIGEST", "digests", "tags"]

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def tags(version: str) -> list[str]:
    """Return the tags of a version, its own first."""
    release = re.fullmatch(r"(\d+\.\d+)\.\d+", version)
    return [version, release[1], "latest"] if release else [version]


def digests(folder: Path) -> list[str]:
    """Return the digests that are recorded in a folder, one for each architecture."""
    found = [path.read_text().strip() for path in sorted(folder.iterdir())]
    if not found or not all(map(DIGEST.fullmatch, found)):
        sys.exit(f"release.index: expected files with a digest each in {folder}, found {found}")
    return found


def main() -> None:
    """Make the index, hand on its digest."""
    image = os.environ["IMAGE"]
    names = [f"--tag={image}:{tag}" for tag in tags(__version__)]
    parts = [f"{image}@{digest}" for digest in digests(Path(sys.argv[1]))]
    imagetools = ["docker", "buildx", "imagetools"]
    subprocess.run([*imagetools, "create", *names, *parts], check=True)
    inspect = [*imagetools, "inspect", "--format={{json .Manifest}}", f"{image}:{__version__}"]
    shown = subprocess.run(inspect, check=True, capture_output=True, text=True)
    hand_on({"digest": json.loads(shown.stdout)["digest"]})


if __name__ == "__main__":
    main()
