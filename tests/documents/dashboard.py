"""The rows and panels of the Grafana dashboard, from which its JSON is made.

Every query is limited to the instances that the reader chose. A metric that no panel shows gets a
panel in the last row.
"""

import json
from typing import NamedTuple

from prixfixe.telemetry.metrics_table import TABLE

COLUMNS, HEIGHT = 24, 8
ME = 'instance=~"$instance"'
RATE = "$__rate_interval"


class Panel(NamedTuple):
    """One panel: title, queries by their legend, unit, kind and width in 24ths."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    note: str = ""


def rate(metric, by="", labels=""):
    """Return the sum of a counter's rate."""
    group = f" by ({by})" if by else ""
    return f"sum{group} (rate({metric}{{{ME}{',' + labels if labels else ''}}}[{RATE}]))"


def quantile(share, metric, by="", labels=""):
    """Return a quantile of a histogram."""
    group = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate(metric + '_bucket', group, labels)})"


def gauge(metric, labels=""):
    """Return a gauge as it is."""
    return f"{metric}{{{ME}{',' + labels if labels else ''}}}"


def heatmap(metric, labels=""):
    """Return a histogram's buckets for a heat map."""
    return {"{{le}}": rate(metric + "_bucket", "le", labels)}


P = "prixfixe_"
ROWS = {
    "Overview": [
        Panel("Ready", {"": f"min({gauge(P + 'ready')})"}, "bool_yes_no", "stat", 4),
        Panel(
            "Accepted a second",
            {"": rate(P + "messages_total", labels='result="accepted"')},
            "cps",
            "stat",
            4,
        ),
        Panel(
            "Deferred",
            {
                "": rate(P + "messages_total", labels='result="deferred"')
                + " / "
                + rate(P + "messages_total")
            },
            "percentunit",
            "stat",
            4,
        ),
        Panel(
            "Connections of the limit",
            {
                "": f"sum({gauge(P + 'smtp_connections_active')})"
                f" / sum({gauge(P + 'smtp_connections_limit')})"
            },
            "percentunit",
            "stat",
            4,
        ),
        Panel("Messages stored", {"": f"sum({gauge(P + 'store_messages')})"}, "short", "stat", 4),
        Panel(
            "Running",
            {"{{version}} {{store}}": f"count by (version, store) ({gauge(P + 'build_info')})"},
            "short",
            "stat",
            4,
        ),
        Panel(
            "From the end of data to 250",
            {
                f"p{share}": quantile(f"0.{share}", P + "message_ack_duration_seconds")
                for share in ("50", "99")
            },
            "s",
            width=12,
            note="What a client waits for durability.",
        ),
        Panel(
            "Readiness by check",
            {"{{instance}} {{check}}": gauge(P + "ready")},
            "bool_yes_no",
            width=12,
        ),
    ],
    "Traffic": [
        Panel("Messages", {"{{result}}": rate(P + "messages_total", "result")}, "cps"),
        Panel(
            "Messages not accepted",
            {
                "{{result}} {{reason}}": rate(
                    P + "messages_total", "result, reason", 'result!="accepted"'
                )
            },
            "cps",
        ),
        Panel("Connections", {"{{result}}": rate(P + "smtp_connections_total", "result")}, "cps"),
        Panel(
            "Active sessions",
            {
                "{{listener}}": f"sum by (listener) ({gauge(P + 'smtp_connections_active')})",
                "limit": f"sum({gauge(P + 'smtp_connections_limit')})",
            },
        ),
        Panel("Commands", {"{{verb}}": rate(P + "smtp_commands_total", "verb") + " > 0"}, "cps"),
        Panel("Replies", {"{{code}}": rate(P + "smtp_replies_total", "code") + " > 0"}, "cps"),
        Panel("Size of messages", heatmap(P + "message_size_bytes"), "bytes", "heatmap"),
        Panel(
            "Time to receive a message",
            {
                f"p{share}": quantile(f"0.{share}", P + "message_receive_duration_seconds")
                for share in ("50", "99")
            },
            "s",
        ),
        Panel(
            "Recipients of a message",
            {
                "mean": f"{rate(P + 'message_recipients_sum')}"
                f" / {rate(P + 'message_recipients_count')}"
            },
        ),
        Panel(
            "How sessions end",
            {"{{end}}": rate(P + "smtp_session_duration_seconds_count", "end")},
            "cps",
        ),
        Panel(
            "Length of sessions",
            {"p99 {{end}}": quantile("0.99", P + "smtp_session_duration_seconds", "end")},
            "s",
        ),
        Panel(
            "Since the last message",
            {"{{instance}}": f"time() - ({gauge(P + 'last_accepted_timestamp_seconds')} > 0)"},
            "s",
        ),
    ],
    "Durability": [
        Panel(
            "Store operations, p99",
            {"{{op}}": quantile("0.99", P + "store_operation_duration_seconds", "op")},
            "s",
        ),
        Panel(
            "Commits",
            heatmap(P + "store_operation_duration_seconds", 'op="commit"'),
            "s",
            "heatmap",
        ),
        Panel(
            "Messages in a commit",
            {
                "mean": rate(P + "messages_total", labels='result="accepted"')
                + " / "
                + rate(P + "store_operation_duration_seconds_count", labels='op="commit"')
            },
        ),
        Panel(
            "Errors and retries",
            {
                "error {{kind}}": rate(P + "store_errors_total", "kind"),
                "retry {{kind}}": rate(P + "store_retries_total", "kind"),
            },
            "cps",
        ),
        Panel(
            "Free space",
            {
                "{{instance}} free": gauge(P + "store_free_bytes"),
                "{{instance}} size": gauge(P + "store_size_bytes"),
                "{{instance}} SMTP_STORE_MIN_FREE": gauge(P + "store_min_free_bytes"),
            },
            "bytes",
        ),
        Panel("Free inodes", {"{{instance}}": gauge(P + "store_free_inodes")}),
        Panel("Bytes stored", {"{{instance}}": gauge(P + "store_bytes")}, "bytes"),
        Panel("Messages stored", {"{{instance}}": gauge(P + "store_messages")}),
        Panel(
            "Deleted by retention, found at the start",
            {
                "deleted a second": rate(P + "store_pruned_total"),
                "{{outcome}}": f"sum by (outcome) ({gauge(P + 'store_recovered_total')})",
            },
        ),
    ],
    "TLS and AUTH": [
        Panel(
            "Handshakes",
            {
                "{{mode}} {{version}} {{result}}": rate(
                    P + "tls_handshakes_total", "mode, version, result"
                )
            },
            "cps",
        ),
        Panel(
            "The certificate expires in",
            {
                "{{instance}}": f"{gauge(P + 'tls_certificate_not_after_timestamp_seconds')} - time()"
            },
            "s",
        ),
        Panel(
            "Logins",
            {"{{mechanism}} {{result}}": rate(P + "auth_attempts_total", "mechanism, result")},
            "cps",
        ),
        Panel(
            "Reloads",
            {
                "certificate {{result}}": f"sum by (result) ({gauge(P + 'tls_reloads_total')})",
                "users {{result}}": f"sum by (result) ({gauge(P + 'auth_reloads_total')})",
            },
        ),
    ],
    "Process": [
        Panel(
            "Lag of the event loop",
            {
                f"p{share}": quantile(f"0.{share}", P + "event_loop_lag_seconds")
                for share in ("50", "99")
            },
            "s",
        ),
        Panel("Memory", {"{{instance}}": gauge("process_resident_memory_bytes")}, "bytes"),
        Panel("Processor", {"{{instance}}": rate("process_cpu_seconds_total", "instance")}),
        Panel(
            "Open files",
            {
                "{{instance}}": gauge("process_open_fds"),
                "{{instance}} limit": gauge("process_max_fds"),
            },
        ),
        Panel(
            "Collections of garbage",
            {"generation {{generation}}": rate("python_gc_collections_total", "generation")},
            "cps",
        ),
        Panel(
            "Log records",
            {
                "{{level}}": rate(P + "log_records_total", "level"),
                "dropped": rate(P + "log_records_dropped_total"),
            },
            "cps",
        ),
        Panel("Defects of the metrics", {"{{instance}}": gauge(P + "metrics_defects_total")}),
        Panel(
            "Started",
            {"{{instance}}": gauge("process_start_time_seconds") + " * 1000"},
            "dateTimeAsIso",
        ),
    ],
    "Replicas": [
        Panel(
            "Accepted, by replica",
            {"{{instance}}": rate(P + "messages_total", "instance", 'result="accepted"')},
            "cps",
            width=12,
        ),
        Panel("Draining", {"{{instance}}": gauge(P + "draining")}, "bool_yes_no", width=12),
    ],
}


def _others():
    """Return a panel for each metric that has none above."""
    shown = "".join(
        query for row in ROWS.values() for panel in row for query in panel.queries.values()
    )
    return [_plain(spec) for spec in TABLE if f"{P}{spec.name}" not in shown]


def _plain(spec):
    by = ", ".join(spec.labels)
    legend, name = " ".join(f"{{{{{label}}}}}" for label in spec.labels), P + spec.name
    if spec.kind == "histogram":
        return Panel(spec.name, {f"p99 {legend}": quantile("0.99", name, by)}, note=spec.help)
    if spec.kind == "counter":
        return Panel(spec.name, {legend: rate(f"{name}_total", by)}, "cps", note=spec.help)
    return Panel(spec.name, {f"{{{{instance}}}} {legend}": gauge(name)}, note=spec.help)


def render():
    """Return the dashboard's JSON."""
    panels, top = [], 0
    others = _others()
    for title, row in {**ROWS, **({"Others": others} if others else {})}.items():
        panels.append(_row(len(panels) + 1, title, top))
        top += 1
        left = 0
        for panel in row:
            if left + panel.width > COLUMNS:
                left, top = 0, top + HEIGHT
            place = {"h": HEIGHT, "w": panel.width, "x": left, "y": top}
            panels.append(_panel(len(panels) + 1, panel, place))
            left += panel.width
        top += HEIGHT
    return json.dumps(_dashboard(panels), indent=2, ensure_ascii=False) + "\n"


def _dashboard(panels):
    return {
        "title": "PrixFixe",
        "uid": "prixfixe",
        "description": "Mail received and stored. The metrics are explained in docs/metrics.md.",
        "tags": ["smtp", "prixfixe"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "panels": panels,
    }


def _variables():
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {
            "name": "instance",
            "label": "Server",
            "type": "query",
            "datasource": _source(),
            "query": {"query": "label_values(prixfixe_build_info, instance)", "refId": "instance"},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def _source():
    return {"type": "prometheus", "uid": "${datasource}"}


def _row(number, title, top):
    place = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": place,
        "panels": [],
    }


def _panel(number, panel, place):
    is_heat = panel.kind == "heatmap"
    made = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.note,
        "datasource": _source(),
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {},
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": _source(),
                "expr": query,
                "legendFormat": legend or "__auto",
                "format": "heatmap" if is_heat else "time_series",
            }
            for at, (legend, query) in enumerate(panel.queries.items())
        ],
    }
    if is_heat:
        made["options"] = {"calculate": False, "yAxis": {"unit": panel.unit}}
    elif panel.kind == "stat":
        made["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"}
    return made
