"""`python -m tests.conformance` without the packages that it needs."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = """
import runpy, sys
sys.modules[{package!r}] = None
runpy.run_module("tests.conformance", run_name="__main__")
"""


@pytest.mark.parametrize("package", ["docker", "trustme"])
def test_a_package_that_is_missing_is_named_with_what_installs_it(package):
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(package=package)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"tests.conformance needs {package}")
    assert done.stderr.endswith(
        f"{sys.executable} -m pip install --require-hashes -r requirements/dev.txt\n"
    )
