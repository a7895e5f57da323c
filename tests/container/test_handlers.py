"""A handler in the container: the folder it is mounted in, and the modules that it finds."""

import ast
import re

import pytest

from tests.container.builder import ROOT
from tests.container.once import once
from tests.container.profile import MAIL

PYTHON = "/usr/bin/python3.13"
LACKING = """
import importlib.util, sys
print([one for one in sorted(sys.stdlib_module_names) if importlib.util.find_spec(one) is None])
"""
# Not documented: modules of Windows, demonstrations, and jokes.
UNUSED = {"msvcrt", "nt", "winreg", "winsound"} | {
    "antigravity",
    "pydoc_data",
    "this",
    "turtledemo",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The examples, as a folder of the host that the container's user can read."""
    made = tmp_path_factory.mktemp("handlers")
    (made / "policy.py").write_bytes((ROOT / "examples/policy.py").read_bytes())
    (made / "policy.py").chmod(0o644)
    made.chmod(0o755)
    for parent in list(made.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    return made


def handled(folder, mode, where="/handlers"):
    environ = {"SMTP_HANDLER": "policy:Policy", "SMTP_HANDLER_PATH": where}
    return environ, {str(folder): {"bind": where, "mode": mode}}


def test_the_documented_policy_decides_in_a_read_only_folder(start, folder):
    environ, volumes = handled(folder, "ro")
    box = start(environ, volumes=volumes)
    with box.hello() as wire:
        sent = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<closed@example.com>\r\nRCPT TO:<b@y.test>\r\n"
        assert wire.ask(sent, 3) == [250, 550, 451]


def test_a_folder_that_the_server_can_write_to_is_refused(image, folder):
    environ, volumes = handled(folder, "rw")
    folder.chmod(0o777)
    try:
        ended = once(image, environ=environ, volumes=volumes)
    finally:
        folder.chmod(0o755)
    assert ended.code == 2
    assert "SMTP_HANDLER_PATH='/handlers': expected a folder that the server's" in ended.err


def test_a_folder_in_the_volume_of_the_mail_is_refused(image, folder):
    environ, volumes = handled(folder, "ro", f"{MAIL}/handlers")
    ended = once(image, environ=environ, volumes=volumes)
    assert ended.code == 2
    assert f"expected a folder apart from the mail in {MAIL}" in ended.err


def test_the_documents_list_the_standard_modules_that_the_image_lacks(image):
    text = (ROOT / "docs/handlers.md").read_text(encoding="utf-8")
    told = re.search(
        r"These standard modules are not in the image.*?folder:\n(.*?)\n\n", text, re.DOTALL
    )
    ended = once(image, "-IBc", LACKING, entrypoint=[PYTHON])
    public = {one for one in ast.literal_eval(ended.out) if not one.startswith("_")}
    assert set(re.findall(r"`(\w+)`", told[1])) == public - UNUSED
