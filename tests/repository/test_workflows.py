"""The workflows: what they may do, that they read what is said elsewhere, and their steps played.

`play` runs the jobs; here with a stand-in for nox that notes the session it is asked for, and does
the cheap ones for real. `nox -s workflows -- ci.yml` runs them all.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from release.matrix import outputs
from tests.repository.expressions import ExpressionError, evaluate, holds, substitute
from tests.repository.play import WORKFLOWS, Player, StepError, load

ROOT = WORKFLOWS.parents[1]
NAMES = sorted(path.name for path in WORKFLOWS.iterdir())
RUN = re.compile(
    r'(?:sudo --preserve-env env "PATH=\$PATH" )?nox -s ([a-z]+|\$\{\{ matrix\.session \}\})( -- .*)?'
)
# Not for workflows: `conformance` is part of `unit`, `workflows` plays them.
LOCAL = {"conformance", "workflows"}
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


# --- played


class Notes:
    """Notes the sessions, does the cheap one, and lets the others leave what they would."""

    def __init__(self):
        self.asked = []

    def __call__(self, command, folder, environ):
        session = re.search(r"nox -s (\w+)", command)[1]
        self.asked.append(session)
        if session == "matrix":
            run = [sys.executable, "-m", "nox", "-s", "matrix"]
            assert subprocess.run(run, cwd=folder, env=environ).returncode == 0
        left = {
            "package": ["dist/prixfixe.whl"],
            "sbom": ["evidence/lock.cdx.json"],
            "image": ["image.tar", "digests/one"],
            "notes": ["evidence/notes.md"],
        }
        for name in left.get(session, []):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(session)
        if session == "index":
            Path(environ["GITHUB_OUTPUT"]).write_text("digest=sha256:of-all\n")
        if session == "announce":
            assert environ["DIGEST"] == "sha256:of-all"
            assert (folder / "dist/prixfixe.whl").exists()
            assert (folder / "evidence/notes.md").read_text() == "notes"


@pytest.fixture
def player(tmp_path):
    notes = Notes()
    made = Player(tmp_path, notes)
    made.is_everything_here = True
    made.asked = notes.asked
    return made


CONTAINER = ["image", "image"] + 3 * [
    *("image", "container", "load", "floods", "docs", "teeth", "durability"),
]
CI = ["matrix", "lint", "typecheck", "package", "sbom", *4 * ["unit"]]
PUBLISH = 2 * ["notes", "image", "container"] + ["index"]
EXPECTED = {
    "ci.yml": CI + CONTAINER,
    "load.yml": ["image", "bench", "image", "load", "floods"],
    "release.yml": ["notes", *CI, *CONTAINER, *PUBLISH, "announce"],
    "weekly.yml": ["matrix", "audit", "platforms", "image", "scan", "fuzz", "differential"],
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", EXPECTED)
def test_the_jobs_run_these_sessions_in_this_order(player, name):
    done = player.play(load(WORKFLOWS / name))
    ended = {job: one.result for job, one in done.items()}
    assert set(ended.values()) <= {"success", "skipped"}, player.told
    assert [job for job, one in ended.items() if one == "skipped"] == (
        ["rebuild"] if name == "weekly.yml" else []
    )
    assert sorted(player.asked) == sorted(EXPECTED[name])
    assert player.asked[0] == EXPECTED[name][0]
    assert player.asked[-1] == EXPECTED[name][-1]


@pytest.mark.timeout(120)
def test_a_step_that_fails_fails_the_gate(tmp_path):
    def perform(command, folder, environ):
        notes(command, folder, environ)
        if "lint" in command:
            raise StepError("exit code 1")

    notes = Notes()
    player = Player(tmp_path, perform)
    player.is_everything_here = True
    done = player.play(load(WORKFLOWS / "ci.yml"))
    assert done["lint"].result == done["required"].result == "failure"
    assert "  failed: not green: lint" in player.told
    assert done["unit"].result == "success"
    assert "typecheck" not in notes.asked  # it comes after lint in one job


def test_what_only_github_can_do_ends_a_job_and_says_so(tmp_path):
    workflow = {
        "jobs": {
            "sign": {"runs-on": "ubuntu-latest", "steps": [{"uses": "actions/attest@x"}]},
            "arm": {"runs-on": "none-arm", "steps": []},
            "python": {
                "runs-on": "ubuntu-latest",
                "steps": [{"uses": "./.github/actions/nox", "with": {"python": "3.99"}}],
            },
        }
    }
    player = Player(tmp_path)
    done = player.play(workflow)
    assert {one.result for one in done.values()} == {"not here"}
    assert "  not here: actions/attest" in player.told
    assert "  not here: Python 3.99" in player.told


def test_steps_are_run_by_bash_and_hand_on(tmp_path):
    say = {"id": "say", "run": 'echo "word=$WORD" >>"$GITHUB_OUTPUT"', "env": {"WORD": "hello"}}
    workflow = {
        "jobs": {
            "one": {
                "runs-on": "ubuntu-latest",
                "steps": [{"uses": "actions/checkout@x"}, say, {"run": "test -f noxfile.py"}],
                "outputs": {"word": "${{ steps.say.outputs.word }}"},
            },
            "two": {
                "needs": "one",
                "runs-on": "ubuntu-latest",
                "steps": [
                    {"uses": "actions/checkout@x"},
                    {"run": "test ${{ needs.one.outputs.word }} = hello"},
                    {"run": "false"},
                    {"run": "echo never"},
                    {"run": "echo still", "if": "always()"},
                ],
            },
            "three": {"needs": "two", "runs-on": "ubuntu-latest", "steps": []},
        }
    }
    player = Player(tmp_path)
    done = player.play(workflow)
    assert [one.result for one in done.values()] == ["success", "failure", "skipped"]
    assert player.told[-2:] == ["  failed: exit code 1", "  echo still"]


# --- expressions


CONTEXT = {"a": {"b": "c", "n": 1, "list": '["x"]'}, "always": True, "failure": False}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b", "c"),
        ("a.none", ""),
        ("a.none.deeper", ""),
        ("'it''s'", "it's"),
        ("a.b == 'c' && 'yes' || 'no'", "yes"),
        ("a.b != 'c' && 'yes' || 'no'", "no"),
        ("!(a.n == 1)", False),
        ("fromJSON(a.list)", ["x"]),
        ("toJSON(a.n)", "1"),
        ("always() && failure()", False),
    ],
)
def test_expressions(text, value):
    assert evaluate(text, CONTEXT) == value


@pytest.mark.parametrize("text", ["a.b ==", "hashFiles('x')", "b.c", "a.b a.b", "(a.b", "a ? b"])
def test_what_is_not_understood_is_an_error(text):
    with pytest.raises(ExpressionError):
        evaluate(text, CONTEXT)


def test_texts_are_filled_and_values_kept():
    assert substitute("-${{ a.b }}-${{ a.n }}", CONTEXT) == "-c-1"
    assert substitute({"x": ["${{ a.n }}"]}, CONTEXT) == {"x": [1]}


def test_conditions():
    assert holds(None, CONTEXT, has_failed=False)
    assert not holds(None, CONTEXT, has_failed=True)
    assert not holds("a.b == 'c'", CONTEXT, has_failed=True)
    assert holds("always()", CONTEXT, has_failed=True)
    assert holds("failure()", CONTEXT, has_failed=True)
    assert not holds("failure()", CONTEXT, has_failed=False)


def test_the_environment_of_ci_is_the_readmes():
    """`.ci/run` and the workflows install the same programs."""
    action = (ROOT / ".github/actions/nox/action.yml").read_text()
    assert "sudo .ci/programs" in action
    assert ".ci/programs" in (ROOT / ".ci/run").read_text()
    assert os.access(ROOT / ".ci/programs", os.X_OK)
    assert Path(ROOT / "requirements/ci.txt").exists()
