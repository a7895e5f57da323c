"""Run Debian's Prometheus with the configuration and alerts of `deployment/prometheus`.

It scrapes and evaluates every second, and ends with the test. Tests query it through its HTTP API.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import subprocess
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import yaml

from tests.container.deployed import taken_port
from tests.container.waiting import eventually
from tests.support.script_runner import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Prometheus", "faster", "scraping"]

SHIPPED = ROOT / "deployment" / "prometheus"


class Prometheus:
    """A running one."""

    def __init__(self, address: str) -> None:
        self._address = address

    def _get(self, path: str, **query: str) -> Any:
        url = f"http://{self._address}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    @property
    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self._get("/api/v1/status/runtimeinfo"))
        except OSError:
            return False

    def value(self, expression: str) -> float:
        """Return what an expression sums up to now; NaN where it finds nothing."""
        found = self._get("/api/v1/query", query=f"sum({expression})")["result"]
        return float(found[0]["value"][1]) if found else math.nan

    def firing(self) -> set[tuple[str, str]]:
        """Return name and instance of every alert that fires now."""
        alerts = self._get("/api/v1/alerts")["alerts"]
        return {
            (one["labels"]["alertname"], one["labels"]["instance"])
            for one in alerts
            if one["state"] == "firing"
        }

    def rules(self) -> list[dict[str, Any]]:
        """Return the alert rules as it evaluates them."""
        groups = self._get("/api/v1/rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]


def faster(rules: str, factor: int) -> str:
    """Return alert rules whose `for` and ranges are shorter; thresholds stay as they are."""

    def seconds(match: re.Match[str]) -> str:
        length = int(match["length"]) * {"m": 60, "h": 3600}[match["unit"]]
        return f"{match['before']}{length // factor}s"

    return re.sub(r"(?P<before>for: |\[)(?P<length>\d+)(?P<unit>[mh])\b", seconds, rules)


def _labels(name: str, expecting: str) -> dict[str, str]:
    return {"instance": name, **({"expects_mail": "yes"} if name == expecting else {})}


@contextlib.contextmanager
def scraping(
    folder: Path, targets: Mapping[str, str], *, factor: int = 1, expecting: str = ""
) -> Iterator[Prometheus]:
    """Scrape the servers at these addresses, each as an instance of its own.

    With a factor, the alerts' `for` and ranges are that much shorter. `expecting` is the instance
    that is expected to get mail, as `prometheus.yml` says it.
    """
    config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    rules = (SHIPPED / "alerts.yml").read_text()
    (folder / "alerts.yml").write_text(faster(rules, factor) if factor > 1 else rules)
    [job] = config["scrape_configs"]
    job["static_configs"] = [
        {"targets": [address], "labels": _labels(name, expecting)}
        for name, address in targets.items()
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with taken_port() as port, (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            made = Prometheus(f"127.0.0.1:{port}")
            eventually(lambda: made.is_ready, what=f"Prometheus (see {folder / 'log'})")
            yield made
        finally:
            process.terminate()
            process.wait(30)
