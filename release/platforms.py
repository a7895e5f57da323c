"""Whether the image can be built on every architecture: its wheels and Debian packages are there.

    python -m release.platforms [ARCHITECTURE...]

Every line of requirements/image.txt is downloaded as a wheel for the image's Python on Debian's C
library, with its hash; every package of docker/packages.txt is looked up in the lists of Debian's
mirror (that of this machine's apt sources, or DEBIAN_MIRROR), fetched to a folder of its own. No
package is installed. Exit code 1 names what is missing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

__all__ = ["PYTHON", "RELEASE", "SUITE", "main"]

ROOT = Path(__file__).resolve().parents[1]
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_DOCKERFILE = (ROOT / "Dockerfile").read_text()
SUITE = re.search(r"BASE_IMAGE=debian:(\w+)", _DOCKERFILE)[1]  # type: ignore[index]
PYTHON = re.search(r"python(3\.\d+)/dist-packages", _DOCKERFILE)[1]  # type: ignore[index]
# The C library of the suite is newer than all of these.
RELEASE = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")


def main() -> None:
    """Look on the named architectures, or on those of the workflows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for arch in sys.argv[1:] or project["tool"]["prixfixe"]["ci"]["runners"]:
        with tempfile.TemporaryDirectory() as folder:
            wheels = find_wheels(arch, Path(folder))
            packages = find_packages(arch, Path(folder))
        print(f"{arch}: {len(wheels)} wheels, {len(packages)} Debian packages")
        compiled = [one for one in wheels if not one.endswith("-none-any.whl")]
        print(" ", *compiled, *packages)


def find_wheels(arch: str, folder: Path) -> list[str]:
    """Download the wheels for an architecture, and return their names."""
    platforms = [f"--platform={release}_{MACHINES[arch]}" for release in RELEASE]
    options = ["-qq", "--only-binary=:all:", "--no-deps", "--require-hashes"]
    tags = ["--implementation=cp", f"--python-version={PYTHON}", *platforms]
    lock = ROOT / "requirements" / "image.txt"
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    subprocess.run([*pip, *options, *tags, f"--dest={folder}/wheels", "-r", lock], check=True)
    return sorted(path.name for path in (folder / "wheels").iterdir())


def find_packages(arch: str, folder: Path) -> list[str]:
    """Return the Debian packages of the image with their versions; end if one is not there."""
    lines = (ROOT / "docker" / "packages.txt").read_text().splitlines()
    names = [line for line in lines if line and not line.startswith("#")]
    apt = _apt(arch, folder)
    subprocess.run(["apt-get", *apt, "update", "-qq"], check=True)
    asked = [f"{name}:{arch}" for name in names]
    shown = subprocess.run(
        ["apt-cache", *apt, "policy", *asked], check=True, capture_output=True, text=True
    ).stdout
    found = dict(
        re.findall(r"^(\S+?)(?::\w+)?:\n.*\n  Candidate: (?!\(none\))(\S+)", shown, re.MULTILINE)
    )
    if missing := set(names) - set(found):
        sys.exit(f"release.platforms: not in Debian {SUITE} for {arch}: {sorted(missing)}")
    return [f"{name}={found[name]}" for name in names]


def _apt(arch: str, folder: Path) -> list[str]:
    """Return options that keep apt to a folder, one suite and one architecture."""
    keyring = next(Path("/usr/share/keyrings").glob("debian-archive-keyring.*"))
    source = folder / "debian.list"
    source.write_text(f"deb [arch={arch} signed-by={keyring}] {_mirror()} {SUITE} main\n")
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "state" / "status").touch()
    places = {
        "Dir::Etc::SourceList": source,
        "Dir::Etc::SourceParts": "-",
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "state" / "status",
        "Dir::Cache": folder / "cache",
        "APT::Architecture": arch,
        "APT::Architectures": arch,
        "APT::Sandbox::User": "root",
    }
    return [f"--option={name}={value}" for name, value in places.items()]


def _mirror() -> str:
    if mirror := os.environ.get("DEBIAN_MIRROR"):
        return mirror
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    shown = subprocess.run(targets, check=True, capture_output=True, text=True).stdout
    return next(
        (one for one in shown.split() if one.endswith(("/debian", "/debian/"))), None
    ) or sys.exit("release.platforms: apt's sources name no Debian mirror: set DEBIAN_MIRROR")


if __name__ == "__main__":
    main()
