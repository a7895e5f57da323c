"""The test that docs/api.md shows, as it stands there."""

import re
import subprocess
import sys

from tests.support.script_runner import ROOT, clean_environ

DOCUMENT = (ROOT / "docs" / "api.md").read_text()


def run(folder, text):
    (folder / "test_letter.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_letter.py"]
    environ = clean_environ() | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TMPDIR": str(folder)}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)


def test_the_example_of_the_document_passes_and_can_fail(tmp_path):
    [example] = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    done = run(tmp_path, example)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    wrong = run(tmp_path, example.replace('== ("Hello"', '== ("Goodbye"'))
    assert (wrong.returncode, "1 failed" in wrong.stdout) == (1, True)
