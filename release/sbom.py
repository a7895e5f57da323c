"""CycloneDX lists of what the image carries, in evidence/.

    python -m release.sbom [IMAGE]

lock.cdx.json lists requirements/image.txt with its hashes; the same lock gives the same octets.
image.cdx.json lists the Debian and Python packages found in the image, when one is named.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

__all__ = ["listed", "locked"]

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "evidence"
LOCK = ROOT / "requirements" / "image.txt"


def locked() -> set[tuple[str, str]]:
    """Return name and version of everything in the lock."""
    return set(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK.read_text(), re.MULTILINE))


def listed(path: Path) -> set[tuple[str, str]]:
    """Return name and version of every Python package in a list."""
    found = json.loads(path.read_text())["components"]
    python = [one for one in found if one.get("purl", "").startswith("pkg:pypi/")]
    return {(re.sub("[-_.]+", "-", one["name"]).lower(), one["version"]) for one in python}


def main() -> None:
    """Write the lists, and compare them with the lock."""
    OUT.mkdir(exist_ok=True)
    lock, image = OUT / "lock.cdx.json", OUT / "image.cdx.json"
    form = ["--output-reproducible", "--short-PURLs", "--output-format=JSON"]
    _run("cyclonedx-py", "requirements", *form, f"--output-file={lock}", str(LOCK))
    _compare(lock)
    if sys.argv[1:]:
        form = ["--quiet", "--skip-version-check", "--offline-scan", "--format=cyclonedx"]
        _run("trivy", "image", *form, f"--output={image}", sys.argv[1])
        _compare(image)


def _compare(path: Path) -> None:
    if wrong := (listed(path) ^ locked()) - {one for one in listed(path) if one[0] == "prixfixe"}:
        sys.exit(f"release.sbom: {path.name} and {LOCK.name} differ: {sorted(wrong)}")
    print(path.relative_to(ROOT))


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


if __name__ == "__main__":
    main()
