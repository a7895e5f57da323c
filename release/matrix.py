"""What the workflows run on, as outputs of a job: from pyproject.toml, where it is said once.

python -m release.matrix
"""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from release.outputs import hand_on

__all__ = ["outputs"]

ROOT = Path(__file__).resolve().parents[1]
_CLASSIFIER = re.compile(r"Programming Language :: Python :: (3\.\d+)")


def outputs() -> dict[str, Any]:
    """Return every output by its name.

    `python`: the versions of the classifiers. `image`: an architecture and its runner.
    `engine`: those, each with a Docker engine; the old ones on the first architecture alone.
    `release`: the newest tag of a release, "" before the first.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ci = project["tool"]["prixfixe"]["ci"]
    images = [{"arch": arch, "runner": runner} for arch, runner in ci["runners"].items()]
    current, *old = ci["engines"]
    engines = [one | {"engine": current} for one in images]
    engines += [images[0] | {"engine": engine} for engine in old]
    return {
        "python": pythons(project),
        "image": images,
        "engine": engines,
        "release": newest_release(),
    }


def pythons(project: dict[str, Any]) -> list[str]:
    """Return the Python versions that the classifiers name, oldest first."""
    named = map(_CLASSIFIER.fullmatch, project["project"]["classifiers"])
    return [match[1] for match in named if match]


def newest_release() -> str:
    """Return the highest `vX.Y.Z` among git's tags, or ""."""
    listed = subprocess.run(
        ["git", "tag", "--list", "v*", "--sort=-version:refname"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    tags = listed.stdout.split()
    return next((tag for tag in tags if re.fullmatch(r"v\d+\.\d+\.\d+", tag)), "")


def main() -> None:
    """Print the outputs, and hand them to the workflow."""
    hand_on({name: json.dumps(value) for name, value in outputs().items()})


if __name__ == "__main__":
    main()
