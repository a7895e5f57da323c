"""What releases ask for: notes, tags, the index, the matrix, the lists."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from prixfixe import __version__
from release import announce, image, index, matrix, notes, sbom

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "ab" * 32
CHANGELOG = """# Changelog

## Unreleased

### Added

- later

## 1.2.3 - 2026-11-25

### Fixed

- this

## 1.2.2 - 2026-11-01

- before
"""


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """A stand-in that notes how it is called and shows one manifest."""
    calls = tmp_path / "calls"
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$*" >>{calls}\n'
        f'case "$*" in *inspect*) echo \'{{"digest": "{DIGEST}"}}\' ;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return lambda: calls.read_text().splitlines()


# --- notes


def test_the_notes_are_the_part_of_the_version():
    assert notes.notes_of("1.2.3", CHANGELOG) == "### Fixed\n\n- this\n"
    assert notes.notes_of("1.2.2", CHANGELOG) == "- before\n"


@pytest.mark.parametrize("version", ["1.2.4", "1.2", "1x2.3", "Unreleased"])
def test_a_version_without_notes_is_no_release(version):
    with pytest.raises(notes.NotesError, match=version):
        notes.notes_of(version, CHANGELOG)


@pytest.mark.parametrize("tag", ["", "1.2.3", "v1.2.4", "v1.2.3 "])
def test_a_tag_that_is_not_the_version_s_is_no_release(tag):
    with pytest.raises(notes.NotesError, match=r"v1\.2\.3"):
        notes.check_tag(tag, "1.2.3")
    notes.check_tag("v1.2.3", "1.2.3")


def test_the_changelog_has_a_part_for_what_comes_next():
    assert "\n## Unreleased\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_session_says_what_does_not_agree():
    done = subprocess.run(
        [sys.executable, "-m", "release.notes", "v0.0.0"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"release.notes: the tag 'v0.0.0' is not v{__version__}, "
        "the version in prixfixe/__init__.py\n"
    )


# --- the image


@pytest.mark.parametrize(
    ("version", "tags"),
    [
        ("1.2.3", ["1.2.3", "1.2", "latest"]),
        ("1.2.3rc1", ["1.2.3rc1"]),
        ("2.0.0.dev0", ["2.0.0.dev0"]),
    ],
)
def test_tags_of_a_version(version, tags):
    assert index.tags(version) == tags


def test_the_index_is_made_of_digests_and_its_own_is_handed_on(docker, tmp_path, monkeypatch):
    folder, handed = tmp_path / "digests", tmp_path / "handed"
    folder.mkdir()
    for arch in ("amd64", "arm64"):
        (folder / arch).write_text(DIGEST + "\n")
    monkeypatch.setenv("IMAGE", "example.com/x/prixfixe")
    monkeypatch.setenv("GITHUB_OUTPUT", str(handed))
    monkeypatch.setattr(sys, "argv", ["index", str(folder)])
    index.main()
    name = "example.com/x/prixfixe"
    wanted = [f"--tag={name}:{tag}" for tag in index.tags(__version__)]
    assert docker() == [
        " ".join(["buildx imagetools create", *wanted, f"{name}@{DIGEST}", f"{name}@{DIGEST}"]),
        f"buildx imagetools inspect --format={{{{json .Manifest}}}} {name}:{__version__}",
    ]
    assert handed.read_text() == f"digest={DIGEST}\n"


@pytest.mark.parametrize("content", [None, "latest", DIGEST[:-1]])
def test_an_index_of_anything_but_digests_is_refused(tmp_path, content):
    if content:
        (tmp_path / "amd64").write_text(content)
    with pytest.raises(SystemExit, match="expected files with a digest"):
        index.digests(tmp_path)


def test_the_image_is_carried_under_its_name(docker, tmp_path):
    image.main(["--load", "image.tar"])
    image.main(["--pull", f"x/y@{DIGEST}", "--record", str(tmp_path / "digests" / "amd64")])
    assert docker() == [
        "load --input image.tar",
        f"pull x/y@{DIGEST}",
        f"tag x/y@{DIGEST} prixfixe",
    ]
    assert index.digests(tmp_path / "digests") == [DIGEST]


# --- the release


def test_a_release_names_the_image_by_its_digest(tmp_path, monkeypatch):
    calls = tmp_path / "calls"
    gh = tmp_path / "bin" / "gh"
    gh.parent.mkdir()
    gh.write_text(f'#!/bin/sh\necho "$*" >{calls}\n')
    gh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{gh.parent}:{os.environ['PATH']}")
    written = tmp_path / "notes.md"
    written.write_text("### Fixed\n\n- this\n")
    monkeypatch.setattr(announce, "OUT", written)
    for name, value in {"IMAGE": "x/y", "DIGEST": DIGEST, "GITHUB_REF_NAME": "v1"}.items():
        monkeypatch.setenv(name, value)
    assert announce.main(["dist/one"]) == 0
    assert calls.read_text() == (
        f"release create v1 --verify-tag --title v1 --notes-file {written} dist/one\n"
    )
    told = f"\n### Image\n\n- `x/y:{__version__}` is `x/y@{DIGEST}`\n"
    assert written.read_text() == f"### Fixed\n\n- this\n{told}"


def test_a_release_without_a_digest_is_none():
    with pytest.raises(SystemExit, match="expected the digest"):
        announce.with_image("", "x/y", "latest")


# --- the matrix and the lists


def test_the_matrix_is_what_the_project_says():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = matrix.outputs()
    lowest = project["project"]["requires-python"].removeprefix(">=")
    assert found["python"][0] == lowest
    minors = [int(version.partition(".")[2]) for version in found["python"]]
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert project["tool"]["ruff"]["target-version"] == "py" + lowest.replace(".", "")
    assert project["tool"]["mypy"]["python_version"] == lowest
    assert [one["arch"] for one in found["image"]] == ["amd64", "arm64"]
    assert {one["engine"] for one in found["engine"]} == {
        *project["tool"]["prixfixe"]["ci"]["engines"]
    }


def test_the_matrix_is_handed_on_as_json(tmp_path):
    handed = tmp_path / "handed"
    subprocess.run(
        [sys.executable, "-m", "release.matrix"],
        cwd=ROOT,
        env=os.environ | {"GITHUB_OUTPUT": str(handed)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    lines = dict(line.split("=", 1) for line in handed.read_text().splitlines())
    assert {name: json.loads(value) for name, value in lines.items()} == matrix.outputs()


def test_a_list_is_compared_by_the_names_of_packages(tmp_path):
    path = tmp_path / "list.json"
    components = [
        {"name": "Prometheus_Client", "version": "1", "purl": "pkg:pypi/prometheus-client@1"},
        {"name": "libc6", "version": "2", "purl": "pkg:deb/debian/libc6@2"},
        {"name": "debian", "version": "13"},
    ]
    path.write_text(json.dumps({"components": components}))
    assert sbom.listed(path) == {("prometheus-client", "1")}
    assert {name for name, _ in sbom.locked()} >= {"aiosmtpd", "uvloop", "typing-extensions"}
