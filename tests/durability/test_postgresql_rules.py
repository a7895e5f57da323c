"""The rules of the store `postgresql` on a real cluster, and mutants that leave one out."""

from __future__ import annotations

import asyncio

import pytest

from tests.durability.pg_rules import CHECKS, MUTANTS, SHORT
from tests.support.pg_fixture import cluster, whole_cluster  # noqa: F401 - fixtures

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("rule", CHECKS)
def test_rule_holds(cluster, rule, request):  # noqa: F811
    if rule not in SHORT and not request.config.getoption("--full"):
        pytest.skip("the session `cluster` has this rule (--full)")
    asyncio.run(CHECKS[rule](cluster, cluster.new_url()))


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_rule_that_is_left_out_is_missed(cluster, monkeypatch, mutant, request):  # noqa: F811
    if not request.config.getoption("--full"):
        pytest.skip("the session `cluster` breaks the rules (--full)")
    leave_out, rule, told = MUTANTS[mutant]
    leave_out(monkeypatch)
    with pytest.raises(AssertionError, match=told):
        asyncio.run(CHECKS[rule](cluster, cluster.new_url()))
