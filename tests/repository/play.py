"""Play a workflow on this machine: its jobs by their needs, their steps in order.

    nox -s workflows -- WORKFLOW.yml [JOB...]

Each job gets a clone of the commit that is checked out. Steps with `run` are run by bash. Of the
actions, those that carry files or judge results are done here, and our own; a job ends with `not
here` at a step only GitHub can do (signing, publishing), at another architecture or at a Python
that is not installed. Exit code 1: a step failed.

Owns: order, conditions, matrices, outputs, artifacts. `perform` runs one command, so that a test
can play all workflows without doing the work.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from tests.repository.expressions import holds, substitute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["WORKFLOWS", "Done", "NotHereError", "Player", "load"]

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
GITHUB = {
    "event_name": "push",
    "ref": "refs/heads/main",
    "ref_name": "main",
    "workflow": "here",
    "repository": "here/prixfixe",
    "server_url": "https://example.com",
    "actor": "here",
    "token": "",
}


class NotHereError(Exception):
    """This machine cannot do it; the text says what."""


class StepError(Exception):
    """A step failed."""


class Done(NamedTuple):
    """How a job ended, and what it handed on."""

    result: str
    outputs: dict[str, Any] = {}  # noqa: RUF012 - never changed


def load(path: Path) -> dict[str, Any]:
    """Read a workflow; YAML 1.1 takes the word `on` for true."""
    read = yaml.safe_load(path.read_text())
    return {"on" if key is True else key: value for key, value in read.items()}


def run_by_bash(command: str, folder: Path, environ: dict[str, str]) -> None:
    """Run a step's command as a runner does; nox and the like are those of this environment."""
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", command], cwd=folder, env=environ)
    if done.returncode:
        raise StepError(f"exit code {done.returncode}")


def _has_python(version: str) -> bool:
    """Whether this Python runs: a version manager may have a name for one it has not installed."""
    asked = [f"python{version}", "--version"]
    return (
        bool(shutil.which(asked[0])) and not subprocess.run(asked, capture_output=True).returncode
    )


class Player:
    """Plays workflows; `told` has a line for each job and each step, in order."""

    def __init__(self, scratch: Path, perform: Callable[..., None] = run_by_bash) -> None:
        self._scratch, self._perform = scratch, perform
        self._artifacts = scratch / "artifacts"
        self._count = itertools.count()
        self.told: list[str] = []
        self.results: dict[str, str] = {}
        # A test that does no work plays every job, whatever this machine is.
        self.is_everything_here = False

    def play(
        self, workflow: dict[str, Any], inputs: dict[str, Any] | None = None, only: tuple = ()
    ) -> dict[str, Done]:
        """Play the jobs, and return how each ended."""
        done: dict[str, Done] = {}
        context = {"github": GITHUB, "inputs": inputs or {}, "vars": {}, "secrets": {}, "env": {}}
        for name, job in _in_order(workflow["jobs"]):
            needs = {one: done[one]._asdict() for one in _words(job.get("needs"))}
            here = context | {"needs": needs}
            has_failed = any(one["result"] != "success" for one in needs.values())
            wanted = not only or name in only or any(name in _ancestors(workflow, x) for x in only)
            if wanted and holds(job.get("if"), here, has_failed=has_failed):
                done[name] = self._play_legs(name, job, here)
            else:
                done[name] = Done("skipped")
            self.results[name] = done[name].result
        return done

    def _play_legs(self, name: str, job: dict[str, Any], context: dict[str, Any]) -> Done:
        """Play a job once for every combination of its matrix; one failure fails it."""
        legs = [self._play_job(name, job, context | {"matrix": leg}) for leg in _legs(job, context)]
        results = [leg.result for leg in legs]
        worst = next((one for one in ("failure", "not here") if one in results), "success")
        return Done(worst, legs[-1].outputs)

    def _play_job(self, name: str, job: dict[str, Any], context: dict[str, Any]) -> Done:
        title = substitute(job.get("name", name), context)
        self.told.append(f"job {title}")
        try:
            if "uses" in job:
                return self._call(job, context)
            self._check_machine(job, context)
            return self._play_steps(job, context)
        except NotHereError as reason:
            self.told.append(f"  not here: {reason}")
            return Done("not here")

    def _call(self, job: dict[str, Any], context: dict[str, Any]) -> Done:
        called = load(ROOT / job["uses"])
        done = self.play(called, substitute(job.get("with", {}), context))
        results = {one.result for one in done.values()} - {"success", "skipped"}
        declared = called["on"]["workflow_call"].get("outputs", {})
        jobs = {name: one._asdict() for name, one in done.items()}
        values = {name: one["value"] for name, one in declared.items()}
        outputs = substitute(values, {"jobs": jobs})
        return Done(min(results, default="success"), outputs)

    def _check_machine(self, job: dict[str, Any], context: dict[str, Any]) -> None:
        runner = substitute(job["runs-on"], context)
        arch = "arm64" if runner.endswith("-arm") else "amd64"
        if arch != ARCHITECTURES.get(platform.machine()) and not self.is_everything_here:
            raise NotHereError(f"{runner} is no {platform.machine()}")

    def _play_steps(self, job: dict[str, Any], context: dict[str, Any]) -> Done:
        folder = self._scratch / f"job-{next(self._count)}"
        steps: dict[str, Any] = {}
        has_failed = False
        here = context | {"steps": steps}
        self._python = ""
        for step in job["steps"]:
            if not holds(step.get("if"), here, has_failed=has_failed):
                continue
            try:
                outputs = self._play_step(step, here, folder)
                steps[step.get("id", "")] = {"outputs": outputs}
            except StepError as error:
                has_failed = True
                self.told.append(f"  failed: {error}")
        outputs = substitute(job.get("outputs", {}), here)
        return Done("failure" if has_failed else "success", outputs)

    def _play_step(
        self, step: dict[str, Any], context: dict[str, Any], folder: Path
    ) -> dict[str, str]:
        step = substitute(step, context)
        if "uses" in step:
            self.told.append(f"  {step['uses'].partition('@')[0]}")
            self._act(step["uses"].partition("@")[0], step.get("with", {}), context, folder)
            return {}
        self.told.append(f"  {step['run'].strip()}")
        handed, page = folder.with_suffix(".outputs"), folder.with_suffix(".md")
        handed.write_text("")
        own = {name: str(value) for name, value in step.get("env", {}).items()}
        forced = {"NOXFORCEPYTHON": self._python} if self._python else {}
        known = {"CI": "true", "GITHUB_OUTPUT": str(handed), "GITHUB_STEP_SUMMARY": str(page)}
        self._perform(step["run"], folder, {**os.environ, **known, **forced, **own})
        lines = handed.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    # --- actions

    def _act(self, action: str, given: dict[str, Any], context: dict[str, Any], at: Path) -> None:
        if action == "actions/checkout":
            subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, at], check=True)
        elif action == "./.github/actions/nox":
            self._set_python(str(given.get("python", "")))
        elif action == "actions/upload-artifact":
            self._upload(given, at)
        elif action == "actions/download-artifact":
            self._download(given, at)
        elif action == "re-actors/alls-green":
            self._judge(json.loads(given["jobs"]))
        elif not self.is_everything_here:
            raise NotHereError(action)

    def _set_python(self, version: str) -> None:
        if version and not self.is_everything_here and not _has_python(version):
            raise NotHereError(f"Python {version}")
        self._python = version

    def _upload(self, given: dict[str, Any], at: Path) -> None:
        found = [Path(one) for one in glob.glob(str(at / given["path"]))]
        if not found and given.get("if-no-files-found") == "error":
            raise StepError(f"no {given['path']} to upload")
        target = self._artifacts / given["name"]
        for one in found:
            for path in [one] if one.is_file() else [p for p in one.rglob("*") if p.is_file()]:
                to = target / path.relative_to(one.parent if one.is_file() else one)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, to)

    def _download(self, given: dict[str, Any], at: Path) -> None:
        pattern = given.get("name") or given["pattern"]
        names = pattern.strip("{}").split(",") if pattern.startswith("{") else [pattern]
        found = [path for name in names for path in self._artifacts.glob(name)]
        if not found and "name" in given:
            raise StepError(f"no artifact {pattern}")
        for path in found:
            shutil.copytree(path, at / given.get("path", "."), dirs_exist_ok=True)

    def _judge(self, needs: dict[str, Any]) -> None:
        bad = [name for name, one in needs.items() if one["result"] in ("failure", "skipped")]
        if bad:
            raise StepError(f"not green: {', '.join(bad)}")


def _words(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _ancestors(workflow: dict[str, Any], job: str) -> set[str]:
    needs = _words(workflow["jobs"][job].get("needs"))
    return set(needs).union(*(_ancestors(workflow, one) for one in needs))


def _in_order(jobs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the jobs so that each comes after what it needs."""
    waiting, gone = dict(jobs), set()
    while waiting:
        ready = [name for name, job in waiting.items() if set(_words(job.get("needs"))) <= gone]
        if not ready:
            raise ValueError(f"jobs need each other: {sorted(waiting)}")
        for name in ready:
            yield name, waiting.pop(name)
            gone.add(name)


def _legs(job: dict[str, Any], context: dict[str, Any]) -> list[dict[str, Any]]:
    matrix = substitute(job.get("strategy", {}).get("matrix", {}), context)
    if "include" in matrix:
        return list(matrix["include"])
    return [dict(zip(matrix, one, strict=True)) for one in itertools.product(*matrix.values())]


def main() -> None:
    """Play the named workflow."""
    name, *jobs = sys.argv[1:] or sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        player = Player(Path(scratch))
        player.play(load(WORKFLOWS / name), only=tuple(jobs))
    ended = [f"{result:9} {job}" for job, result in player.results.items()]
    sys.stdout.write("\n".join(["", *player.told, "", *ended, ""]))
    sys.exit("failure" in player.results.values())


if __name__ == "__main__":
    main()
