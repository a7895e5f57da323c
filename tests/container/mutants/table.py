"""Every broken image, those of the default run, and the checks that all of them meet."""

from __future__ import annotations

from tests.container.mutants import server_mutants as running
from tests.container.mutants import static_mutants as still
from tests.container.mutants.checks import CORE, STILL

__all__ = ["CORE", "MUTANTS", "SAMPLE", "STILL"]

MUTANTS = {**still.MUTANTS, **running.MUTANTS}
# One of each kind, for every run; the session `teeth` takes them all.
SAMPLE = (
    "root user",
    "healthcheck true",
    "secret in a layer",
    "missing module",
    "no SIGTERM handler",
    "acknowledges what was not stored",
)
