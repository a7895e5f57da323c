"""The source distribution and the wheel: reproducible, minimal, whole, and they run.

`nox -s package` builds them into dist/ first.
"""

import email.policy
import os
import re
import shutil
import signal
import smtplib
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from prixfixe import __version__

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What a source distribution has beside the package; .gitignore is hatchling's doing.
BESIDE = {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", ".gitignore", "PKG-INFO"}


def tracked(*folders):
    """What git has in the tree, so that nothing else gets in."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name for name in listed.stdout.split("\0") if name}


@pytest.fixture(scope="module")
def wheel():
    return DIST / f"prixfixe-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def sdist():
    return DIST / f"prixfixe-{__version__}.tar.gz"


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return email.message_from_bytes(
            archive.read(f"prixfixe-{__version__}.dist-info/METADATA"),
            policy=email.policy.default,
        )


def test_dist_has_one_of_each_and_of_this_version(wheel, sdist):
    assert sorted(DIST.iterdir()) == sorted([wheel, sdist])


@pytest.mark.timeout(180)
def test_another_build_gives_the_same_octets(wheel, sdist, tmp_path):
    """Elsewhere, by a stricter umask, with other times, in another zone, from what git has."""
    tree = tmp_path / "another" / "tree"
    for name in tracked():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
        os.chmod(tree / name, 0o600)
    done = subprocess.run(
        [sys.executable, "-m", "release.dists", "--out", tmp_path / "dist", tree],
        cwd=ROOT,
        env=os.environ | {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "LC_ALL": "C"},
        umask=0o077,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for first in (wheel, sdist):
        assert (tmp_path / "dist" / first.name).read_bytes() == first.read_bytes(), first.name


def test_the_wheel_is_the_package_and_its_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    about = {name for name in names if name.startswith(f"prixfixe-{__version__}.dist-info/")}
    assert names - about == tracked("prixfixe")
    assert {name.partition("/")[2] for name in about} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }


def test_the_source_distribution_is_that_and_what_builds_it(sdist):
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert all(member.isfile() and member.uid == member.gid == 0 for member in members)
    names = {member.name.removeprefix(f"prixfixe-{__version__}/") for member in members}
    assert names == tracked("prixfixe") | BESIDE


def test_metadata_says_what_the_project_says(metadata):
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert metadata["License-Expression"] == PROJECT["license"]
    assert metadata.get_all("Classifier") == PROJECT["classifiers"]
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert "PrixFixe" in metadata.get_content()


# --- installed as users do


def pins():
    """The locked versions, for pip to keep to; hashes would ask for one of our own wheel too."""
    text = (ROOT / "requirements" / "release.txt").read_text()
    return re.sub(r" \\\n( +--hash=\S+( \\)?\n)+", "\n", text)


@pytest.fixture(scope="module")
def prixfixe(wheel, tmp_path_factory):
    """The command, in an environment with the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "pins.txt").write_text(pins())
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--constraint", folder / "pins.txt", wheel], check=True)
    subprocess.run([*pip, "check"], check=True)
    return python.parent / "prixfixe"


@pytest.mark.timeout(180)
def test_the_command_says_its_version(prixfixe):
    done = subprocess.run([prixfixe, "version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"prixfixe {__version__}\n")


@pytest.mark.timeout(180)
def test_it_serves_and_keeps_mail_in_an_empty_folder(prixfixe, tmp_path):
    environ = {"SMTP_PORT": "0", "SMTP_BIND": "127.0.0.1", "SMTP_HTTP_PORT": "off"}
    server = subprocess.Popen(
        [prixfixe], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True
    )
    try:
        ready = server.stdout.readline()
        port = int(re.search(r"smtp=127\.0\.0\.1:(\d+) ", ready)[1])
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
            client.sendmail("a@example.com", "b@example.org", "Subject: from the wheel\r\n\r\nhi")
        shown = subprocess.run(
            [prixfixe, "show", "latest"], cwd=tmp_path, capture_output=True, text=True
        )
        assert "Subject: from the wheel" in shown.stdout, shown.stderr
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        server.stdout.close()


@pytest.mark.timeout(180)
def test_the_test_of_the_readme_runs_as_it_stands_there(prixfixe, tmp_path):
    """With nothing but the wheel and pytest, found by its entry point."""
    python = prixfixe.parent / "python"
    (tmp_path / "pins.txt").write_text(pins())
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--constraint", tmp_path / "pins.txt", "pytest"], check=True)
    readme = (ROOT / "README.md").read_text()
    [example] = re.findall(r"<!-- kit -->\n```python\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "test_readme.py").write_text(example)
    command = [python, "-W", "error", "-m", "pytest", "-q", "test_readme.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout
