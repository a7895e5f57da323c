"""Alerts, dashboard and scrape configuration against the metrics there are."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from prixfixe.stores.base import Probe, Totals
from prixfixe.telemetry.metrics import Metrics
from prixfixe.telemetry.metrics_table import TABLE
from tests.documents import dashboard, promql
from tests.documents.generated import ROOT

FOLDER = ROOT / "deployment" / "prometheus"
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
CASES = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
DASHBOARD = json.loads((ROOT / "deployment" / "grafana" / "prixfixe.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [
    (f"{panel['title']} {target['refId']}", panel, target)
    for panel in PANELS
    for target in panel["targets"]
]
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed (Debian: promtool, prometheus)"
)


@pytest.fixture(scope="module")
def names():
    """Return what a server offers that knows all there is to know."""
    metrics = Metrics(version="1", revision="r", store="sqlite:x", max_connections=9)
    metrics.totals, metrics.space, metrics.min_free = Totals(1, 1), Probe(1, 1, 1), 1
    metrics.replicated(2, 0)
    metrics.not_after, metrics.ready = 1.0, {"store": True}
    return promql.offered(metrics.exposition(None)[0].decode())


def test_the_page_offers_the_whole_table(names):
    for spec in TABLE:
        suffix = {"counter": "_total", "histogram": "_bucket"}.get(spec.kind, "")
        assert f"prixfixe_{spec.name}{suffix}" in names, spec.name


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_alerts_ask_for_what_there_is(rule, names):
    found = promql.selectors(rule["expr"])
    assert found
    assert [fault for one in found for fault in promql.faults(one, names)] == []
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert set(
        re.findall(r"\bSMTP_[A-Z_]+\b|prixfixe_\w+", rule["annotations"]["description"])
    ) <= {
        *names,
        *(name.rpartition("_")[0] for name in names),
        *(f"SMTP_{key}" for key in _settings()),
    }


def _settings():
    from prixfixe.settings import TABLE as SETTINGS

    return [setting.env.removeprefix("SMTP_") for setting in SETTINGS]


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_every_alert_has_a_case_where_it_fires_and_one_where_it_does_not(rule):
    fired, quiet = set(), set()
    for case in CASES:
        asked = [one for one in case["alert_rule_test"] if one["alertname"] == rule["alert"]]
        for one in asked:
            there = set(re.findall(r'instance="(\w+)"', str(case["input_series"])))
            firing = {alert["exp_labels"]["instance"] for alert in one["exp_alerts"]}
            fired |= firing
            quiet |= there - firing
    assert fired
    assert quiet


@needs_promtool
@pytest.mark.parametrize(
    "command",
    [["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]],
    ids=["config", "rules"],
)
def test_promtool_agrees(command):
    done = subprocess.run(["promtool", *command], cwd=FOLDER, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout


@pytest.mark.parametrize(
    ("panel", "target"), [row[1:] for row in QUERIES], ids=[row[0] for row in QUERIES]
)
def test_panels_ask_for_what_there_is(panel, target, names):
    found = promql.selectors(target["expr"])
    assert found
    assert [fault for one in found for fault in promql.faults(one, names)] == []
    for one in found:
        assert ("instance", "=~", ".+") in one.conditions, "not limited to the instances chosen"
    grouped = re.search(r"by \(([^)]*)\)", target["expr"])
    known = set(grouped[1].split(", ")) if grouped else set(names[found[0].name]) | {"instance"}
    assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= known


def test_panels_do_not_overlap_and_have_ids_of_their_own():
    taken = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < dashboard.COLUMNS
                assert taken.setdefault((x, y), panel["id"]) == panel["id"], panel["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_metric_is_on_the_dashboard():
    shown = " ".join(target["expr"] for _, _, target in QUERIES)
    assert [spec.name for spec in TABLE if f"prixfixe_{spec.name}" not in shown] == []


def test_the_scrape_configuration_and_the_alerts_agree_on_the_job():
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert config["rule_files"] == ["alerts.yml"]
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    asked = {
        value
        for rule in RULES
        for one in promql.selectors(rule["expr"])
        for label, _, value in one.conditions
        if label == "job"
    }
    assert asked == jobs


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(prixfixe_gone_total[5m])", "no metric prixfixe_gone_total"),
        ('prixfixe_ready{chek="store"}', "prixfixe_ready has no label chek"),
        ('prixfixe_ready{check=~"stor"}', "prixfixe_ready: no check =~ stor"),
        ("1 + sum(prixfixe_draining) - topk(1, prixfixe_nope)", "no metric prixfixe_nope"),
    ],
)
def test_a_wrong_expression_is_found(expression, fault, names):
    assert [text for one in promql.selectors(expression) for text in promql.faults(one, names)] == [
        fault
    ]


def test_an_expression_that_is_none_is_found():
    with pytest.raises(ValueError, match="unclosed"):
        promql.selectors("sum(rate(prixfixe_draining[5m])")
