"""The workflows: what they may do, that they read what is said elsewhere, and the way to a release.

actionlint, zizmor and check-jsonschema lint the files; these tests hold what they cannot know.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from release.matrix import outputs
from tests.repository.workflows import ROOT, WORKFLOWS, before, load

NAMES = sorted(path.name for path in WORKFLOWS.iterdir())
RUN = re.compile(
    r'(?:sudo --preserve-env env "PATH=\$PATH" )?nox -s ([a-z]+|\$\{\{ matrix\.session \}\})( -- .*)?'
)
# Not for workflows: it is part of `unit`.
LOCAL = {"conformance", "scoreboard", "verify", "peers", "frameworks"}
PINNED = re.compile(r"[\w-]+/[\w./-]+@[0-9a-f]{40}")


@pytest.fixture(scope="module")
def sessions():
    """What nox has, and whether it is in the default run."""
    shown = subprocess.run(
        [sys.executable, "-m", "nox", "--list"], cwd=ROOT, capture_output=True, text=True
    )
    found = re.findall(r"^([*-]) (\S+)", shown.stdout, re.MULTILINE)
    return {name: mark == "*" for mark, name in found}


def jobs(name):
    return load(WORKFLOWS / name)["jobs"].items()


def steps():
    for name in NAMES:
        for job, body in jobs(name):
            for step in body.get("steps", []):
                yield f"{name}:{job}", step, body


def asked_for(step, job):
    """The sessions a step asks for."""
    match = RUN.fullmatch(step["run"])
    assert match, step["run"]
    return job["strategy"]["matrix"]["session"] if match[1].startswith("$") else [match[1]]


# --- what they may do


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_permitted_but_what_a_job_asks_for(name):
    assert load(WORKFLOWS / name)["permissions"] == {}
    for job, body in jobs(name):
        assert "permissions" in body, job


@pytest.mark.parametrize("name", NAMES)
def test_every_job_ends_in_time_and_no_run_doubles_another(name):
    workflow = load(WORKFLOWS / name)
    for job, body in workflow["jobs"].items():
        assert "uses" in body or body["timeout-minutes"] <= 90, job
    assert "concurrency" in workflow or list(workflow["on"]) == ["workflow_call"]


def test_actions_are_pinned_to_a_commit_and_tell_their_version():
    files = [*WORKFLOWS.iterdir(), *(ROOT / ".github/actions").glob("*/action.yml")]
    pins = {}
    for path in files:
        for line in re.findall(r"^.*\buses:.*$", path.read_text(), re.MULTILINE):
            used = line.partition("uses: ")[2]
            if not used.startswith("./"):
                assert re.fullmatch(rf"{PINNED.pattern} # v\d+\.\d+\.\d+", used), (path.name, line)
                action, _, pin = used.partition("@")
                assert pins.setdefault(action, pin) == pin, f"{action} twice, differently"


def test_no_checkout_keeps_credentials():
    for where, step, _ in steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, where


# --- what is said elsewhere


def test_every_step_is_an_action_or_a_session(sessions):
    for where, step, job in steps():
        if "run" in step:
            unknown = set(asked_for(step, job)) - set(sessions)
            assert not unknown, (where, unknown)


def test_every_session_is_in_a_workflow(sessions):
    used = {one for _, step, job in steps() if "run" in step for one in asked_for(step, job)}
    assert set(sessions) - used == LOCAL


@pytest.mark.parametrize("name", NAMES)
def test_no_version_of_python_and_no_architecture_is_repeated(name):
    text = re.sub(r"@[0-9a-f]{40} # \S+", "", (WORKFLOWS / name).read_text())
    for said in [*outputs()["python"], *(one["runner"] for one in outputs()["image"]), "arm64"]:
        assert not re.search(rf"(?<![\w.]){re.escape(said)}(?![\w.])", text), said


def test_every_output_of_the_matrix_is_used_and_there():
    text = "".join((WORKFLOWS / name).read_text() for name in NAMES)
    used = set(re.findall(r"steps\.matrix\.outputs\.(\w+)", text))
    assert used == set(outputs())


def test_the_one_gate_needs_every_job():
    workflow = load(WORKFLOWS / "ci.yml")["jobs"]
    assert set(workflow["required"]["needs"]) == set(workflow) - {"required"}
    assert workflow["required"]["if"] == "always()"


def test_the_default_run_is_part_of_the_gate(sessions):
    default = {name for name, is_default in sessions.items() if is_default}
    assert default
    gate = {
        one
        for where, step, job in steps()
        if where.startswith(("ci.yml", "container.yml")) and "run" in step
        for one in asked_for(step, job)
    }
    assert not default - gate


def test_dependabot_watches_locks_images_and_actions():
    read = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())
    watched = {one["package-ecosystem"]: one for one in read["updates"]}
    assert set(watched) == {"pip", "docker", "github-actions"}
    assert (ROOT / watched["pip"]["directory"].strip("/") / "image.txt").exists()
    actions = {f"/{path.parent.relative_to(ROOT)}" for path in ROOT.glob(".github/actions/*/*")}
    assert set(watched["github-actions"]["directories"]) == {"/"} | actions


# --- the way to a release: what no linter follows from job to job


def artifacts(steps, action, key):
    """Yield what steps with this action name: a name, or each of the names of a pattern."""
    for step in steps:
        if step.get("uses", "").startswith(f"actions/{action}-artifact@"):
            given = step["with"].get(key)
            if given is not None:
                yield from given[1:-1].split(",") if given.startswith("{") else [given]


def uploads(workflow, names):
    """Return the names of artifacts that these jobs leave, those of called workflows included."""
    found = set()
    for name in names:
        job = workflow["jobs"][name]
        if "uses" in job:
            called = load(ROOT / job["uses"])
            found |= uploads(called, called["jobs"])
        found |= set(artifacts(job.get("steps", []), "upload", "name"))
    return {re.sub(r"\$\{\{.*?\}\}", "*", name) for name in found}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_job_downloads_was_uploaded_before_it(name):
    workflow = load(WORKFLOWS / name)
    for job, body in workflow["jobs"].items():
        left = uploads(workflow, before(workflow["jobs"], job))
        for key in ("name", "pattern"):
            for one in artifacts(body.get("steps", []), "download", key):
                assert re.sub(r"\$\{\{.*?\}\}", "*", one) in left, (job, one, left)


def test_what_is_downloaded_is_found_at_all():
    """The test above sees something: the files of a release, its notes and lists, the digests."""
    seen = {
        one
        for name in NAMES
        for _, body in jobs(name)
        for key in ("name", "pattern")
        for one in artifacts(body.get("steps", []), "download", key)
    }
    assert {"dist", "notes", "sbom", "digest-*"} <= seen


def test_nothing_is_published_before_all_is_tested_and_announced_before_it_is_published():
    jobs_of = load(WORKFLOWS / "release.yml")["jobs"]
    assert jobs_of["ci"]["uses"] == "./.github/workflows/ci.yml"
    publishing = {
        name
        for name, job in jobs_of.items()
        if job.get("permissions", {}).keys() & {"id-token", "packages"}
    }
    assert publishing == {"pypi", "image"}
    for name in publishing:
        assert {"notes", "ci"} <= before(jobs_of, name), name
    assert {"notes", "ci", *publishing} <= before(jobs_of, "announce")


def test_an_image_has_its_name_only_after_the_suite_ran_on_it():
    jobs_of = load(WORKFLOWS / "publish.yml")["jobs"]
    runs = [step.get("run", "") for step in jobs_of["build"]["steps"]]
    pulled = next(at for at, run in enumerate(runs) if "image -- --pull" in run)
    assert "nox -s container -- --image prixfixe" in runs[pulled + 1 :]
    assert before(jobs_of, "index") == {"build"}
    [output] = jobs_of["index"]["outputs"].values()
    assert output == "${{ steps.index.outputs.digest }}"


def test_the_environment_of_ci_is_the_readmes():
    """`.ci/run` and the workflows install the same programs."""
    action = (ROOT / ".github/actions/nox/action.yml").read_text()
    assert "sudo .ci/programs" in action
    assert ".ci/programs" in (ROOT / ".ci/run").read_text()
    assert os.access(ROOT / ".ci/programs", os.X_OK)
    assert Path(ROOT / "requirements/ci.txt").exists()
