"""What there is to run; `nox` alone runs the sessions marked *."""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = True

CODE = ("prixfixe", "tests", "docker", "noxfile.py")
EVIDENCE = Path("evidence")


def _install(session: nox.Session) -> None:
    """Install the locked tools, then the package as users get it."""
    session.install("--require-hashes", "-r", "requirements/dev.txt")
    session.install("--no-deps", ".")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, spelling and shell scripts."""
    session.install("--require-hashes", "-r", "requirements/dev.txt")
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)
    session.run("codespell", "prixfixe", "docs", *map(str, Path().glob("*.md")))
    scripts = [str(path) for path in (*Path("scripts").glob("*.sh"), Path(".ci/run"))]
    session.run("shellcheck", *scripts)
    session.run("shfmt", "-i", "4", "-d", *scripts)


@nox.session
def typecheck(session: nox.Session) -> None:
    """Check types with mypy, strictly."""
    _install(session)
    session.run("mypy")


@nox.session
def unit(session: nox.Session) -> None:
    """Run the tests that need no Docker, with branch coverage."""
    _install(session)
    args = session.posargs or ["-n", "auto", f"--junitxml={EVIDENCE / 'unit.xml'}"]
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "tests/unit", "tests/integration", *args)
    if not session.posargs:
        _play_table(session, "-n", "auto", f"--junitxml={EVIDENCE / 'conformance.xml'}")
        session.run("coverage", "combine", "--quiet")
        session.run(
            "coverage", "report", "--format=total" if os.environ.get("CI") else "--format=text"
        )


def _play_table(session: nox.Session, *args: str) -> None:
    session.run("pytest", "tests/conformance", *args)


@nox.session
def conformance(session: nox.Session) -> None:
    """Play the conformance table on the process, whole and in pieces (`unit` does so too)."""
    _install(session)
    _play_table(session, "-n", "auto", *session.posargs)


nox.options.sessions = ["lint", "typecheck", "unit"]
