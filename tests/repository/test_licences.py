"""Licences of what users install: nothing that asks more of them than to keep the notice."""

import importlib.metadata as metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "HPND",
    "ISC",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MPL-2.0",
    "PSF-2.0",
    "Python-2.0",
    "Unlicense",
    "Zlib",
}
# What older metadata says in words.
IN_WORDS = {
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "MIT license": "MIT",
    "BSD": "BSD-3-Clause",
    "Python Software Foundation License": "PSF-2.0",
}


def shipped():
    """Every distribution a user gets with the package and its extras."""
    extras = PROJECT["optional-dependencies"]
    waiting = [
        *PROJECT["dependencies"],
        *(one for group in extras.values() for one in group),
    ]
    seen = set()
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if name in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        waiting += metadata.requires(name) or []
    return sorted(seen)


def licence(name):
    about = metadata.metadata(name)
    if expression := about["License-Expression"]:
        return expression
    words = [
        one.rpartition(" :: ")[2]
        for one in about.get_all("Classifier") or []
        if one.startswith("License :: ") and not one.endswith("OSI Approved")
    ]
    return " AND ".join(IN_WORDS.get(one, one) for one in words or [about["License"] or "unknown"])


def is_permissive(expression):
    return set(re.split(r" (?:AND|OR) |[()]", expression)) <= ALLOWED | {""}


@pytest.mark.parametrize("name", shipped())
def test_what_is_shipped_is_permissive(name):
    assert is_permissive(licence(name)), licence(name)


@pytest.mark.parametrize(
    "expression", ["GPL-2.0-only", "MIT AND LGPL-3.0-or-later", "unknown", "x"]
)
def test_what_is_not_would_be_found(expression):
    assert not is_permissive(expression)


def test_what_is_shipped_is_found():
    assert {"aiosmtpd", "attrs", "uvloop", "bcrypt", "matplotlib"} <= set(shipped())
