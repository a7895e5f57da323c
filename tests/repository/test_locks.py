"""The locks: hashed, placeless, and what the project asks for."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def pins(path):
    """Name to its (version, marker) lines."""
    found = {}
    for line in re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", path.read_text(), re.MULTILINE):
        found.setdefault(line[0], set()).add(line[1])
    return found


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_locks_have_a_hash_for_everything_and_name_no_place(path):
    text = re.sub(r"^ *#.*\n", "", path.read_text(), flags=re.MULTILINE)
    for entry in re.split(r"\n(?! )", text.strip()):
        assert "==" in entry, entry
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text
    assert "--index" not in text


def wanted(*groups):
    names = list(PROJECT["project"]["dependencies"])
    waiting = list(groups)
    while waiting:
        for one in PROJECT["dependency-groups"][waiting.pop()]:
            if isinstance(one, str):
                names.append(one)
            else:
                waiting.append(one["include-group"])
    return [Requirement(one) for one in names]


GROUPS = {
    "image.txt": [],
    "dev.txt": ["lint", "typecheck", "test", "container", "nox"],
    "bench.txt": ["bench"],
    "browser.txt": ["browser"],
    "frameworks.txt": ["frameworks"],
    "fuzz.txt": ["fuzz"],
    "release.txt": ["release"],
}


@pytest.mark.parametrize("name", GROUPS)
def test_locks_satisfy_what_the_project_asks_for(name):
    """`scripts/lock.sh --check` says whether they are what uv would write now."""
    locked = pins(ROOT / "requirements" / name)
    for one in wanted(*GROUPS[name]):
        versions = locked.get(canonicalize_name(one.name))
        assert versions, f"{one.name} is not in {name}"
        # A requirement with a marker has a version of its own beside those of the others.
        fits = any if one.marker else all
        assert fits(one.specifier.contains(version) for version in versions), one


def test_the_lock_of_kubernetes_has_its_group_and_no_more():
    """What is installed without dependencies must need nothing that the tests' lock has not."""
    locked = pins(ROOT / "requirements" / "kubernetes.txt")
    asked = [Requirement(one) for one in PROJECT["dependency-groups"]["kubernetes"]]
    assert set(locked) == {canonicalize_name(one.name) for one in asked}
    for one in asked:
        assert all(map(one.specifier.contains, locked[canonicalize_name(one.name)])), one


def test_the_image_and_the_tests_carry_the_same_versions():
    image, dev = pins(ROOT / "requirements/image.txt"), pins(ROOT / "requirements/dev.txt")
    assert {name: versions <= dev[name] for name, versions in image.items()} == dict.fromkeys(
        image, True
    )


def test_the_image_and_the_release_are_built_by_the_same_version():
    build, release = pins(ROOT / "requirements/build.txt"), pins(ROOT / "requirements/release.txt")
    assert build["hatchling"] == release["hatchling"]


def test_the_readme_of_the_locks_lists_them():
    listed = re.findall(r"`(\w+\.txt)`", (ROOT / "requirements/README.md").read_text())
    assert sorted(listed) == [path.name for path in LOCKS]


# What another session's lock has and that of the unit tests has not must not be needed by them.
IMPORT = """
import importlib, sys
names, modules = sys.argv[1].split(), sys.argv[2].split()
sys.modules.update(dict.fromkeys(names))
for module in modules:
    importlib.import_module(module)
"""


def test_unit_tests_need_nothing_that_their_lock_has_not():
    elsewhere = {"psutil", "pytest_benchmark", "atheris"}
    asked = [
        f"tests.unit.{path.stem}"
        for path in sorted((ROOT / "tests" / "unit").glob("test_*.py"))
        if re.search(r"^from tests\.(bench|fuzz)\b", path.read_text(), re.MULTILINE)
    ]
    assert len(asked) > 1
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, " ".join(elsewhere), " ".join(asked)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
