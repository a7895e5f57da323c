"""PF-IMG, what is in the tree: packages, accounts, programs, and what has no place there."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections import defaultdict
from typing import TYPE_CHECKING

from prixfixe.verify.dialogue.servers import NotOfferedError
from prixfixe.verify.elf import MACHINES, Program, program_in
from prixfixe.verify.groups.common import expect, layers_of, none_of, tree_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.verify.bench import Bench

__all__ = ["TABLE"]

_INSTALLERS = re.compile(
    r"(^|/)(pip|setuptools|ensurepip|wheel|uv|easy_install)(/|$|-[\d.]+)|"
    r"(^|/)s?bin/(apt|apt-get|dpkg|apk|rpm|dnf|microdnf|yum|npm)$"
)
_TESTS = re.compile(r"(^|/)tests?/(.*/)?(test_\w+|conftest)\.py$")
_PACKAGES = re.compile(r"(^|/)(dist|site)-packages/")
_DIST_INFO = re.compile(r"(^|/)(dist|site)-packages/([^/]+?)-[^/-]+\.dist-info/METADATA$")
_STATUS = "var/lib/dpkg/status.d/"
_LARGE = 100_000  # bytes; smaller files are often equal by chance
_BY_HASH = 1  # of a compiled module's flags, PEP 552


def _absent(bench: Bench, name: str) -> None:
    """Raise `NotOfferedError` unless the contract says that this is not there."""
    if bench.promised("image", name):
        raise NotOfferedError(f"the contract lets it have this (image.{name})")


def _times(bench: Bench) -> None:
    if not bench.promised("image", "one_time"):
        raise NotOfferedError("the contract does not promise it (image.one_time)")
    times = {one.mtime for layer in layers_of(bench) for one in layer.members.values()}
    expect(len(times) == 1, f"its files have {len(times)} times, from {min(times)} to {max(times)}")


def _duplicates(bench: Bench) -> None:
    _absent(bench, "duplicates")
    tree, found = tree_of(bench), defaultdict(list)
    for name, one in tree.files().items():
        if one.isreg() and one.size > _LARGE:
            found[hashlib.sha256(tree.read(name)).digest()].append(name)
    twice = [" = ".join(names) for names in found.values() if len(names) > 1]
    none_of(twice, "files with the same bytes")


def _owners(bench: Bench) -> None:
    allowed = {one.strip("/") for one in bench.promised("image", "others_own")}
    found = [
        f"{name} ({one.uid}:{one.gid})"
        for name, one in tree_of(bench).members.items()
        if (one.uid, one.gid) != (0, 0) and name not in allowed
    ]
    none_of(found, "what belongs to others than root")


def _devices(bench: Bench) -> None:
    none_of(
        [name for name, one in tree_of(bench).members.items() if one.isdev()], "devices and pipes"
    )


def _accounts(bench: Bench) -> None:
    tree = tree_of(bench)
    open_ = [
        f"{name}: {line.partition(':')[0]}"
        for name in ("etc/passwd", "etc/shadow")
        if name in tree.members
        for line in tree.read(name).decode("utf-8", "replace").splitlines()
        if line.count(":") > 1 and not line.split(":")[1]
    ]
    none_of(open_, "accounts without a password")


def _installers(bench: Bench) -> None:
    _absent(bench, "installers")
    names = [
        name for layer in layers_of(bench) for name in layer.files() if _INSTALLERS.search(name)
    ]
    none_of(names, "something to install with")


def _tests(bench: Bench) -> None:
    _absent(bench, "tests")
    names = [name for layer in layers_of(bench) for name in layer.files() if _TESTS.search(name)]
    none_of(names, "tests")


def _python_packages(bench: Bench) -> None:
    wanted = {_plain(one) for one in bench.promised("image", "python_packages")}
    found = {_plain(hit[3]) for name in tree_of(bench).files() if (hit := _DIST_INFO.search(name))}
    expect(
        found == wanted,
        f"Python packages: {sorted(found - wanted)} too many, {sorted(wanted - found)} missing",
    )


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _debian_packages(bench: Bench) -> None:
    """Look for each record of an image that has one a package, as those without dpkg have."""
    tree = tree_of(bench)
    records = {
        name.removeprefix(_STATUS).removesuffix(".md5sums")
        for name in tree.files()
        if name.startswith(_STATUS)
    }
    if not records:
        raise NotOfferedError(f"it has no records of packages in {_STATUS}")
    folders = {name.split("/")[3] for name in tree.members if name.startswith("usr/share/doc/")}
    none_of(sorted(records - folders), "packages without a copyright file")
    none_of(sorted(folders - records), "packages without a record, which no scanner finds")


# --- programs


def _programs(bench: Bench) -> dict[str, Program]:
    def read() -> dict[str, Program]:
        tree = tree_of(bench)
        heads = ((name, tree.head(name)) for name, one in tree.files().items() if one.isreg())
        elves = [name for name, head in heads if head[:4] == b"\x7fELF"]
        return {name: one for name in elves if (one := program_in(tree.read(name)))}

    found: dict[str, Program] = bench.once("programs", read)
    return found


def _architecture(bench: Bench) -> None:
    named = bench.source.facts()["architecture"]
    if named not in MACHINES:
        raise NotOfferedError(f"its architecture is {named!r}, of which nothing is known here")
    wrong = [name for name, one in _programs(bench).items() if one.machine != MACHINES[named]]
    none_of(wrong, f"programs for another processor than {named}")


def _libraries(bench: Bench) -> None:
    there = {posixpath.basename(name) for name in tree_of(bench).members}
    missing = [
        f"{name} needs {one}"
        for name, program in _programs(bench).items()
        for one in (*program.needed, posixpath.basename(program.interpreter))
        if one and posixpath.basename(one) not in there
    ]
    none_of(missing, "libraries that are not there")


def _compiled(bench: Bench) -> None:
    """Look for compiled modules beside those of the named packages, valid whatever their time is."""
    wanted = set(bench.promised("image", "compiled"))
    tree = tree_of(bench)
    sources, compiled = set(), set()
    for name in tree.files():
        place = _PACKAGES.search(name)
        if place is None or name[place.end() :].partition("/")[0] not in wanted:
            continue
        folder = posixpath.dirname(name)
        if name.endswith(".py"):
            sources.add(folder)
        elif name.endswith(".pyc") and tree.head(name)[4:5] == bytes([_BY_HASH]):
            compiled.add(posixpath.dirname(folder))
        elif name.endswith(".pyc"):
            expect(False, f"{name} is compiled again when its source's time is another")
    expect(sources, f"{sorted(wanted)}: not there")
    none_of(sorted(sources - compiled), "folders whose modules are not compiled")


def _environment(bench: Bench) -> None:
    wanted = dict(bench.promised("image", "env"))
    rows = (one.partition("=") for one in bench.source.config.get("Env") or ())  # type: ignore[attr-defined] # of an image
    found = {name: value for name, _, value in rows}
    wrong = sorted(
        name
        for name in wanted.keys() | found.keys()
        if name not in wanted or found.get(name) is None or wanted[name] not in ("*", found[name])
    )
    none_of(
        [f"{name}={found.get(name, '')}" for name in wrong], "variables that are not as promised"
    )


_TREE = "the exported tree"
TABLE: tuple[tuple[Callable[[Bench], None], str, str, str, str], ...] = (
    (_times, "All files have one time, so that two builds are equal.", "should", "contract image.one_time", "every layer"),
    (_duplicates, "No bytes are shipped twice.", "should", "contract image.duplicates", _TREE),
    (_owners, "Root owns all but what is named.", "must", "contract image.others_own", _TREE),
    (_devices, "No device, pipe or socket is there.", "should", "CWE-732", _TREE),
    (_accounts, "No account is without a password.", "must", "CWE-258", _TREE),
    (_installers, "There is nothing to install with.", "must", "contract image.installers", "every layer"),
    (_tests, "No tests are shipped.", "should", "contract image.tests", "every layer"),
    (_python_packages, "The Python packages are the promised ones.", "must", "contract image.python_packages", _TREE),
    (_debian_packages, "Each Debian package has its record and its copyright file.", "should", "Debian Policy 12.5", _TREE),
    (_architecture, "All programs are for the processor that the image names.", "must", "OCI image spec", _TREE),
    (_libraries, "Every library that a program needs is there.", "should", "System V ABI 5", _TREE),
    (_compiled, "Python modules are compiled, whatever the time of their sources.", "should", "contract image.compiled", _TREE),
    (_environment, "The environment has the promised variables and no other.", "must", "contract image.env", "the image's configuration"),
)  # fmt: skip
