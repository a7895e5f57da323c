"""docs/aiosmtpd-tests.md: every test of aiosmtpd and what became of it."""

from __future__ import annotations

from collections import defaultdict
from importlib.metadata import version
from typing import TYPE_CHECKING

from tests.peers.judge import summary

if TYPE_CHECKING:
    from tests.peers.judge import Verdict

__all__ = ["document"]

HEAD = """# aiosmtpd's own tests on PrixFixe

The session `nox -s peers` runs the tests of aiosmtpd {version} as they are in its distribution, which
the locks pin by hash. Its controllers have PrixFixe's engine (`prixfixe.handlers.install`). A plugin
compares its `StatusCode` constants by code, because the wording of a reply is aiosmtpd's own. It writes
this page.

{summary}.

A test is about the insides of aiosmtpd if it asks no controller, or uses names of its own: it is not
counted.
"""
WORDS = {"passed": "passes", "difference": "differs", "insides": "insides", "failed": "FAILS"}


def document(verdicts: list[Verdict]) -> str:
    """Return the page."""
    parts = [HEAD.format(version=version("aiosmtpd"), summary=summary(verdicts))]
    modules: dict[str, list[Verdict]] = defaultdict(list)
    for one in verdicts:
        modules[one.name.partition("::")[0]].append(one)
    for module, tests in sorted(modules.items()):
        parts.append(f"## {module}.py\n")
        parts.append("| test | | why |\n|---|---|---|")
        parts.extend(_rows(tests))
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _rows(tests: list[Verdict]) -> list[str]:
    """Return a row for each test function and outcome; tests of many parameters are one row."""
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for one in tests:
        name = one.name.partition("::")[2]
        function, _, parameters = name.partition("[")
        why = f"{one.why} ({one.rfc})" if one.rfc else one.why
        groups[function, one.kind, why].append(parameters.removesuffix("]"))
    rows = []
    for (function, kind, why), parameters in groups.items():
        named = [one for one in parameters if one]
        more = f" × {len(named)}" if len(named) > 1 else f" `{_cell(named[0])}`" if named else ""
        rows.append(f"| `{_cell(function)}`{more} | {WORDS[kind]} | {_cell(why)} |")
    return rows


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:160]
