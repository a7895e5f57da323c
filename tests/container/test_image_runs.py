"""What the image's programs need is in it: modules, libraries, compiled code."""

import re

import pytest

from tests.container.box import PYTHON
from tests.container.builder import ROOT

LIBRARY = "/usr/lib/python3.13"
WHEELS = "/usr/local/lib/python3.13/dist-packages"

LOAD_LIBRARIES = """
import ctypes, os, sys
found, bad = 0, []
for top in ("/usr/lib", "/usr/local/lib"):
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if ".so" not in name or os.path.islink(path) or name.endswith(".conf"):
                continue
            found += 1
            try:
                ctypes.CDLL(path, mode=os.RTLD_NOW)
            except OSError as error:
                bad.append(str(error))
print(found, *bad, sep="\\n")
sys.exit(bool(bad))
"""
SHELLS = "import os, sys; sys.exit(os.system('true') == 0)"


def run_python(run_once, *words):
    return run_once(*words, entrypoint=[PYTHON, "-IB"])


def test_every_module_imports(run_once):
    program = (ROOT / "docker" / "imports.py").read_text()
    done = run_python(run_once, "-c", program, LIBRARY, WHEELS)
    assert done.code == 0, done.out
    assert int(done.out.split()[0]) > 500


def test_every_library_finds_what_it_links_to(run_once):
    done = run_python(run_once, "-c", LOAD_LIBRARIES)
    assert done.code == 0, done.out
    assert int(done.out.split()[0]) > 30


def test_there_is_no_shell_to_run(run_once):
    assert run_python(run_once, "-c", SHELLS).code == 0


@pytest.mark.parametrize("words", [("version",), ("config",), ("config", "--example"), ("--help",)])
def test_arguments_replace_the_command(words, run_once):
    done = run_once(*words)
    assert done.code == 0, done
    assert done.out
    assert not done.err


def test_a_server_loads_nothing_that_is_not_compiled(start):
    box = start(entrypoint=[PYTHON, "-IBv", "/usr/local/bin/prixfixe"])
    box.is_trouble_expected = True  # Python's own report of what it loads
    for path in ("/readyz", "/metrics", "/api/v1/messages"):
        assert box.http(path).status == 200
    loaded = re.findall(r"^# code object from '?([^'\n]+?)'?$", box.logs(), re.MULTILINE)
    assert len(loaded) > 200
    command = "/usr/local/bin/prixfixe"
    assert {name for name in loaded if not name.endswith(".pyc")} - {command} == set()
