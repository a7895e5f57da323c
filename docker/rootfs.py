"""Make the image's file tree from Debian packages, locked wheels and PrixFixe.

It decides which files the image has, with which modes and times; the Dockerfile downloads the
packages and wheels. The same input gives the same bytes. Every Python module in the tree is
imported as a check.
"""

from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
STDLIB = "usr/lib/python3.13"
WHEELS = "usr/local/lib/python3.13/dist-packages"
PYTHON = "/usr/bin/python3.13"
STATUS = "var/lib/dpkg/status.d"
SOURCES_READ = (f"/{WHEELS}/prixfixe/", f"/{WHEELS}/anyio/")

IMPORTS = (PYTHON, "-IB", "-c", (HERE / "imports.py").read_text())

# No password is set, and no shell exists.
PASSWD = "root:*:0:0:root:/:/sbin/nologin\nsmtp:*:1000:1000:PrixFixe:/var/mail:/sbin/nologin\n"
GROUP = "root:*:0:\nsmtp:*:1000:\n"
NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"
# -I: neither the environment nor the working directory can put in other code.
COMMAND = f"#!{PYTHON} -IB\nimport sys\n\nfrom prixfixe.cli.start import main\n\nsys.exit(main())\n"


def debian(root: Path, archives: Path) -> None:
    """Unpack Debian packages, keep their records, drop what is not needed."""
    status = root / STATUS
    status.mkdir(parents=True)
    packages = sorted(archives.glob("*.deb"))
    for package in packages:
        _run("dpkg-deb", "--extract", package, root)
    _prune(root, HERE / "prune.txt")
    for package in packages:
        _record(package, status)
    for name, text in (("passwd", PASSWD), ("group", GROUP), ("nsswitch.conf", NSSWITCH)):
        (root / "etc" / name).write_text(text)
    (root / "var/mail").mkdir(exist_ok=True)
    for cache in (root / STDLIB).rglob("__pycache__"):
        shutil.rmtree(cache)


def wheels(root: Path) -> None:
    """Slim the installed wheels, check that all of it works."""
    folder = root / WHEELS
    _prune(folder, HERE / "prune-wheels.txt")
    for library in sorted(folder.rglob("*.so")):
        _run("strip", "--strip-unneeded", library)
    _check(root)


def app(root: Path, version: Path) -> None:
    """Slim the installed package, of the version the label names; add the command."""
    folder = root / WHEELS
    if not (folder / f"prixfixe-{version}.dist-info").is_dir():
        sys.exit(f"the build was told VERSION={version}; prixfixe/__init__.py says otherwise")
    for name in ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD"):
        for record in folder.glob(f"prixfixe-*.dist-info/{name}"):
            record.unlink()
    shutil.rmtree(folder / "bin")
    _prune(folder, HERE / "prune-app.txt")
    command = root / "usr/local/bin/prixfixe"
    command.parent.mkdir(parents=True, exist_ok=True)
    command.write_text(COMMAND)
    command.chmod(0o755)
    _compile(root)
    _keep_sums(root)
    _run("chroot", root, "/usr/local/bin/prixfixe", "version")
    _check(root)
    _settle(root)


def _record(package: Path, status: Path) -> None:
    """Keep what scanners read: the package's description and the sums of its files."""
    control = _output("dpkg-deb", "--field", package)
    name = _output("dpkg-deb", "--field", package, "Package").strip()
    (status / name).write_text(control)
    sums = _output(
        "dpkg-deb", "--ctrl-tarfile", package, pipe="tar --extract --to-stdout ./md5sums"
    )
    (status / f"{name}.md5sums").write_text(sums)


def _keep_sums(root: Path) -> None:
    """Keep the sums of what is left of the packages."""
    for listing in (root / STATUS).glob("*.md5sums"):
        lines = listing.read_text().splitlines(keepends=True)
        kept = [line for line in lines if (root / line[34:-1]).exists()]
        listing.write_text("".join(kept))


def _prune(root: Path, listing: Path) -> None:
    for pattern in listing.read_text().splitlines():
        if not pattern or pattern.startswith("#"):
            continue
        found = [path for path in root.glob(pattern) if path.name != "copyright"]
        for path in found:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:  # A linked folder may show the same file twice.
                path.unlink(missing_ok=True)
        if not found:
            print(f"{listing.name}: nothing matches {pattern}")


def _compile(root: Path) -> None:
    """Compile what a server loads, once and for ever: a read-only tree's sources do not change.

    A library's source goes then: six megabytes that nothing reads. PrixFixe's own stays, so that a
    traceback shows its lines, and anyio's, which reads itself to load less. What no server loads
    stays as source.
    """
    sources = _output("chroot", root, *IMPORTS, "--loaded", f"/{WHEELS}/prixfixe")
    for source in sources.split():
        if "/asyncpg/" in source:  # 0.3 MB that only servers of one store would read
            continue
        is_read = source.startswith(SOURCES_READ)
        py_compile.compile(
            f"{root}{source}",
            cfile=None if is_read else f"{root}{source}c",
            dfile=source,
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        if not is_read:
            Path(f"{root}{source}").unlink()


def _check(root: Path) -> None:
    """Import every module of the tree, inside the tree."""
    _run("chroot", root, *IMPORTS, f"/{STDLIB}", f"/{WHEELS}")


def _settle(root: Path) -> None:
    """Give every file root as owner, a plain mode and one time."""
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    for path in (root, *root.rglob("*")):
        os.chown(path, 0, 0, follow_symlinks=False)
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)
    (root / "tmp").chmod(0o1777)
    # Group 0 is the group of a container started with any --user: it may write here, nobody else.
    os.chown(root / "var/mail", 1000, 0)
    (root / "var/mail").chmod(0o770)
    for path in (root, *root.rglob("*")):
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _run(*command: str | Path) -> None:
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(f"{command[0]} ended with {code}; what it said is above")


def _output(*command: str | Path, pipe: str = "cat") -> str:
    first = subprocess.run(command, check=True, capture_output=True)
    return subprocess.run(
        pipe.split(), check=True, capture_output=True, input=first.stdout
    ).stdout.decode()


if __name__ == "__main__":
    STEPS = {"debian": debian, "wheels": wheels, "app": app}
    STEPS[sys.argv[1]](*map(Path, sys.argv[2:]))
