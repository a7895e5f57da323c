"""The parts of documents that are made from the code's tables.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`, or is a whole file. Text
outside a part is never changed.
"""

import re
from pathlib import Path

from prixfixe.settings import TABLE as SETTINGS
from prixfixe.settings import example
from prixfixe.telemetry.events import EVENTS, FIELDS
from prixfixe.telemetry.metrics_table import TABLE as METRICS
from tests.container.health_states import STATES
from tests.container.profile import LEAST_MEMORY, LEAST_NOFILE, LEAST_PIDS
from tests.documents import chart, dashboard
from tests.integration.mailpit_clients import table as clients
from tests.support import log_records as records

ROOT = Path(__file__).parents[2]


def table(head, rows):
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def metrics():
    """Return every metric of the table."""
    return table(["metric", "type", "labels and buckets", "meaning"], map(_metric, METRICS))


def _metric(spec):
    suffix = "_total" if spec.kind == "counter" else ""
    details = [
        f"`{name}`: {', '.join(values) or 'fixed at the start'}"
        for name, values in spec.labels.items()
    ]
    if spec.buckets:
        details.append(
            f"≤ {', '.join(f'{bound:g}' if bound < 1e6 else str(bound) for bound in spec.buckets)}"
        )
    return [f"`prixfixe_{spec.name}{suffix}`", spec.kind, "; ".join(details), spec.help]


def settings():
    """Return every setting of the table, the advanced ones last."""
    ordered = sorted(SETTINGS, key=lambda setting: setting.is_advanced)
    return table(["variable", "default", "meaning"], map(_setting, ordered))


def _setting(setting):
    mark = "advanced: " if setting.is_advanced else ""
    default = f"`{setting.default}`" if setting.default else ""
    return [f"`{setting.env}`", default, mark + setting.help]


def events():
    """Return every event of the log."""
    return table(["event", "level", "said when", "fields"], map(_event, EVENTS.items()))


def _event(item):
    name, event = item
    fields = [f"`{field}`" for field in event.fields]
    fields += [f"`{field}` (not always)" for field in event.optional]
    bound = "*" if event.is_limited else ""
    return [f"`{name}`", event.level + bound, event.help, ", ".join(fields)]


def fields():
    """Return every field of the log's records."""
    return table(["field", "type", "meaning"], map(_field, FIELDS.items()))


def _field(item):
    name, field = item
    values = f": {', '.join(field.values)}" if field.values else ""
    return [f"`{name}`", field.type, field.help + values]


def least():
    """Return the limits of a container that are enough."""
    rows = {"--memory": LEAST_MEMORY, "--pids-limit": LEAST_PIDS, "--ulimit nofile": LEAST_NOFILE}
    return table(["limit", "least"], ([f"`{name}`", str(value)] for name, value in rows.items()))


def health():
    """Return what the health checks must say of each state a server can be in."""
    return table(["state", "`HEALTHCHECK`", "`/livez`", "`/readyz`"], map(_state, STATES.items()))


def _state(item):
    name, state = item
    answers = ["no answer" if one is None else str(one) for one in (state.livez, state.readyz)]
    return [name, "healthy" if state.is_healthy else "unhealthy", *answers]


def refused():
    """Return the rules between the chart's values."""
    return "".join(f"- {why}\n" for why in chart.RULES)


def operations():
    """Return Mailpit's operations, and whether each is here."""
    known = clients.here()
    rows = [[f"`{_readable(one)}`", "yes" if one in known else "no"] for one in clients.MAILPIT]
    count = len(known.intersection(clients.MAILPIT))
    told = f"{count} of Mailpit's {len(clients.MAILPIT)} operations are here:\n\n"
    return told + table(["Mailpit", "here"], rows)


def _readable(operation):
    names = iter(
        ["ID", "N"] if "/part/" in operation else ["TAG" if "/tags/" in operation else "ID"]
    )
    return re.sub("{}", lambda _: next(names), operation)


def client_methods():
    """Return what works of each client of Mailpit."""
    return table(["client", "methods that work", "not"], map(_client, clients.CLIENTS.items()))


def _client(item):
    name, methods = item
    works = clients.working(methods)
    missing = ", ".join(f"`{one}`" for one in methods if one not in works)
    return [name, f"{len(works)} of {len(methods)}", missing]


PARTS = {
    "docs/api.md": {"operations": operations, "clients": client_methods},
    "docs/kubernetes.md": {"refused": refused},
    "docs/metrics.md": {"metrics": metrics},
    "docs/logs.md": {"events": events, "fields": fields},
    "DEPLOYMENT.md": {"settings": settings},
    "deployment/DOCKER-READY.md": {"least": least, "health": health},
    "deployment/helm/prixfixe/values.yaml": {"settings": chart.listed},
}
FILES = {
    ".env.example": example,
    "deployment/grafana/prixfixe.json": dashboard.render,
    "deployment/helm/prixfixe/values.schema.json": chart.schema,
    "deployment/logs.schema.json": records.schema,
}


def with_parts(path, text):
    """Return a document's text with its generated parts as they should be."""
    for name, make in PARTS[path].items():
        begin, end = f"<!-- generated: {name} -->\n", "<!-- end -->\n"
        head, found, rest = text.partition(begin)
        if not found or end not in rest:
            msg = f"{path}: expected a part {begin.strip()} … {end.strip()}"
            raise ValueError(msg)
        text = head + begin + make() + end + rest.partition(end)[2]
    return text


def expected():
    """Yield path, present text and the text there should be, of every generated document."""
    for path in PARTS:
        present = (ROOT / path).read_text()
        yield path, present, with_parts(path, present)
    for path, make in FILES.items():
        file = ROOT / path
        yield path, file.read_text() if file.exists() else "", make()
