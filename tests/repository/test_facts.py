"""What is told in more than one place, compared: version, ports, labels, workflows, settings."""

import re
from pathlib import Path

import pytest
import yaml

from prixfixe import __version__
from prixfixe.settings import TABLE
from tests.repository.test_files import tracked
from tests.repository.test_workflows import NAMES, asked_for
from tests.repository.workflows import WORKFLOWS, load

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
RELEASING = (ROOT / "docs/releasing.md").read_text()
DEFAULTS = {one.env: one.default for one in TABLE}
PORTS = {DEFAULTS["SMTP_PORT"], DEFAULTS["SMTP_HTTP_PORT"]}


def rows(text, title):
    """The rows of the first table under a heading, as lists of cells."""
    part = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    table = re.findall(r"^\|(.*)\|$", part, re.MULTILINE)[2:]
    return [[cell.strip() for cell in row.split("|")] for row in table]


# --- version


def test_the_version_is_written_in_the_package_and_the_dockerfile_alone():
    """The Dockerfile's is compared by its build too."""
    assert set(re.findall(r"^ARG VERSION=(.*)$", DOCKERFILE, re.MULTILINE)) == {__version__}
    where = {
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.is_file() and __version__.encode() in path.read_bytes()
    }
    # The table of who passes what names the version that was played.
    assert where - {"docs/conformance.md"} == {"prixfixe/__init__.py", "Dockerfile"}


# --- ports


def test_the_image_exposes_the_default_ports():
    assert set(re.search(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE)[1].split()) == PORTS


@pytest.mark.parametrize("path", tracked("*.md"), ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_speak_of_the_default_ports(path):
    """Loopback addresses with four digits are where a newcomer finds the server."""
    assert set(re.findall(r"(?:127\.0\.0\.1|localhost):([28]\d{3})\b", path.read_text())) <= PORTS


# --- labels


def test_labels_of_the_image_are_those_of_the_document():
    prefix = r"org\.opencontainers\.image\.(\w+)"
    given = set(re.findall(prefix, DOCKERFILE + (WORKFLOWS / "publish.yml").read_text()))
    table = RELEASING.partition("`org.opencontainers.image.`")[2].partition("\n\n")[0]
    told = set(re.findall(r"`(\w+)`", table))
    assert given == told


# --- workflows


def test_the_document_lists_every_workflow_with_its_sessions():
    told = {
        row[0].strip("`"): re.findall(r"`(\w+)`", row[2]) for row in rows(RELEASING, "Workflows")
    }
    found = {
        name: sorted(
            {
                one
                for job in load(WORKFLOWS / name)["jobs"].values()
                for step in job.get("steps", [])
                if "run" in step
                for one in asked_for(step, job)
            }
        )
        for name in NAMES
    }
    assert told == found


WORDS = {
    "push": {"branches": "push to main", "tags": "tag `v*`"},
    "pull_request": "pull request",
    "schedule": "weekly",
    "workflow_dispatch": "by hand",
}


def test_the_document_says_when_they_run():
    told = {row[0].strip("`"): row[1] for row in rows(RELEASING, "Workflows")}
    for name in NAMES:
        for event, detail in load(WORKFLOWS / name)["on"].items():
            word = WORDS.get(event, "")
            word = word[next(iter(detail))] if isinstance(word, dict) else word
            assert word in told[name], (name, event)
        if "called by" in told[name]:
            callers = set(re.findall(r"`(\S+)`", told[name].partition("called by")[2]))
            used = {one for one in NAMES if f"workflows/{name}" in (WORKFLOWS / one).read_text()}
            assert callers == used, name


def test_the_document_lists_what_a_repository_has_to_set():
    text = "".join((WORKFLOWS / name).read_text() for name in NAMES)
    told = {
        (row[0], row[1].strip("`")) for row in rows(RELEASING, "Once, in the repository's settings")
    }
    used = {("variable", one) for one in re.findall(r"\bvars\.(\w+)", text)}
    used |= {("secret", one) for one in re.findall(r"\bsecrets\.([A-Z]\w*)", text)}
    for name in NAMES:
        for job in yaml.safe_load((WORKFLOWS / name).read_text())["jobs"].values():
            used |= {("environment", job["environment"])} if "environment" in job else set()
    assert told == used


# --- nox


def test_documents_name_sessions_that_exist():
    sessions = set(
        re.findall(r"^def ([a-z]\w*)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    )
    for path in tracked("*.md"):
        for name in re.findall(r"nox -s ([a-z]\w*)", path.read_text()):
            assert name in sessions, (path.name, name)
