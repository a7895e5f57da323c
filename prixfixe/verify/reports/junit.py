"""JUnit XML: one suite a group; skipped cases say why, failures carry their evidence."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from prixfixe.verify.cases import GROUPS, Outcome

if TYPE_CHECKING:
    from prixfixe.verify.cases import Result
    from prixfixe.verify.play import Run

__all__ = ["report"]

# What XML 1.0 cannot have.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAGS = {
    Outcome.FAIL: "failure",
    Outcome.ERROR: "error",
    Outcome.SKIP: "skipped",
    Outcome.UNVERIFIABLE: "skipped",
    Outcome.WAIVED: "skipped",
}


def report(run: Run) -> str:
    """Return the run as JUnit XML. A failed should or may is skipped, as it fails no run."""
    root = ET.Element("testsuites", name="prixfixe verify", time=f"{run.seconds:.1f}")
    for group, text in GROUPS.items():
        found = [one for one in run.results if one.case.group == group]
        if found:
            _add_suite(root, run, f"{group} {text}", found)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_suite(root: ET.Element, run: Run, name: str, found: list[Result]) -> None:
    tags = [_tag(one) for one in found]
    suite = ET.SubElement(
        root,
        "testsuite",
        name=name,
        tests=str(len(found)),
        failures=str(tags.count("failure")),
        errors=str(tags.count("error")),
        skipped=str(tags.count("skipped")),
        time=f"{sum(one.seconds for one in found):.3f}",
    )
    facts = {"target": run.bench.source.name, **run.bench.source.facts(), "seed": run.bench.seed}
    properties = ET.SubElement(suite, "properties")
    for key, value in facts.items():
        ET.SubElement(properties, "property", name=key, value=str(value))
    for one in found:
        _add_case(suite, one)


def _tag(result: Result) -> str:
    is_soft = result.outcome == Outcome.FAIL and result.severity != "must"
    return "skipped" if is_soft else _TAGS.get(result.outcome, "")


def _add_case(suite: ET.Element, result: Result) -> None:
    case = result.case
    made = ET.SubElement(
        suite,
        "testcase",
        classname=case.group,
        name=f"{case.id} {case.title}",
        time=f"{result.seconds:.3f}",
    )
    if tag := _tag(result):
        message = _clean(f"{result.severity} {result.outcome}: {result.why}")
        told = ET.SubElement(made, tag, message=message)
        told.text = _clean(
            "\n\n".join(f"{one.kind}:\n{one.text}" for one in result.evidence) or result.why
        )


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
