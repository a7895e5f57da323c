"""The notes of a release: the part of CHANGELOG.md that is about its tag.

    python -m release.notes [TAG]

TAG is GITHUB_REF_NAME if not given. It has to be `v` and the version of the package, and have its
own part in CHANGELOG.md. The notes go to evidence/notes.md; the tag's commit and its time are
handed on, for the image's labels. Exit codes: 0, 1 something does not agree.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from prixfixe import __version__
from release.outputs import hand_on

__all__ = ["NotesError", "check_tag", "notes_of"]

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "evidence" / "notes.md"


class NotesError(Exception):
    """Tag, version and CHANGELOG.md do not agree; the text says how."""


def check_tag(tag: str, version: str = __version__) -> None:
    """Raise `NotesError` unless the tag is the version's."""
    if tag != f"v{version}":
        raise NotesError(f"the tag {tag!r} is not v{version}, the version in prixfixe/__init__.py")


def notes_of(version: str, changelog: str) -> str:
    """Return the part of a changelog that is about a version."""
    title = rf"## \[?{re.escape(version)}\]? - \d{{4}}-\d\d-\d\d"
    found = re.search(rf"^{title}\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if not found or not found[1].strip():
        raise NotesError(f"CHANGELOG.md has no part '## {version} - YYYY-MM-DD' with text in it")
    return found[1].strip() + "\n"


def main() -> None:
    """Write the notes, hand on the labels."""
    tag = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("GITHUB_REF_NAME", "")
    try:
        check_tag(tag)
        text = notes_of(__version__, (ROOT / "CHANGELOG.md").read_text())
    except NotesError as error:
        sys.exit(f"release.notes: {error}")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(text)
    revision, created = _git("log", "-1", "--format=%H %cI").split()
    hand_on({"revision": revision, "created": created})


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    main()
