"""Check the selectors of a PromQL expression against a page of metrics.

Expressions are parsed but not evaluated. An expression that does not parse raises an error.
"""

import re
from typing import NamedTuple

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

# Prometheus adds these labels to what it scrapes, and `up` of its own.
TARGET_LABELS = {"job", "instance", "expects_mail"}
OWN = {"up"}


class Selector(NamedTuple):
    """A metric and its conditions: (label, operator, value)."""

    name: str
    conditions: tuple


def selectors(expression):
    """Return the selectors of an expression, Grafana's variables filled in."""
    text = expression.replace("$__rate_interval", "5m").replace("$instance", ".+")
    return list(_walk(promql_parser.parse(text)))


def _walk(node):
    if isinstance(node, promql_parser.VectorSelector):
        found = re.findall(r'(\w+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"', node.prettify())
        yield Selector(node.name, tuple(found))
        return
    for attribute in ("expr", "lhs", "rhs", "param", "vector_selector"):
        below = getattr(node, attribute, None)
        if below is not None:
            yield from _walk(below)
    for argument in getattr(node, "args", ()):
        yield from _walk(argument)


def offered(page):
    """Return the samples of a page: name -> label -> values."""
    names = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = names.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return names


def faults(selector, names):
    """Yield what a selector asks for that is not there."""
    if selector.name in OWN:
        return
    labels = names.get(selector.name)
    if labels is None:
        yield f"no metric {selector.name}"
        return
    for label, operator, value in selector.conditions:
        if label in TARGET_LABELS:
            continue
        values = labels.get(label)
        if values is None:
            yield f"{selector.name} has no label {label}"
        elif not any(_matches(operator, value, one) for one in values):
            yield f"{selector.name}: no {label} {operator} {value}"


def _matches(operator, value, one):
    if operator in ("=", "!="):
        return (one == value) == (operator == "=")
    return bool(re.fullmatch(value, one)) == (operator == "=~")
