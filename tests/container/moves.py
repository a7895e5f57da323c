"""The expected change of every metric under the load of `test_monitoring`.

Each row is a Prometheus query and its value, exact or between two bounds. A metric that does not
change is listed in `RESTS` with the reason.
"""

import math

from prixfixe.telemetry.metrics_table import TABLE

CLIENTS, EACH = 2, 60
SENT = CLIENTS * EACH  # on each listener
KILLED = 5  # messages of a server that was killed
# The last of all is kept when the server is about to go; it may not be seen any more.
KEPT = (2 * SENT + 2, 2 * SENT + 3)
WRONG = 2  # passwords
REFUSED = 8  # messages on the full disk
LARGE = 250_000  # octets: two of them do not fit in SMTP_MAX_INFLIGHT
ANY = math.inf

# Metric, labels, and what it must come to: exactly, or at least and at most.
MOVES = [
    ("smtp_connections", 'result="accepted",listener="smtps"', CLIENTS + 1),
    ("smtp_connections", 'result="probe"', (1, ANY)),
    ("smtp_session_duration_seconds", 'end="quit"', (1, ANY)),
    ("smtp_session_duration_seconds", 'end="eof"', (2 * CLIENTS, ANY)),
    ("smtp_commands", 'verb="VRFY",class="2xx"', 1),
    ("smtp_commands", 'verb="OTHER",class="5xx"', 1),
    ("smtp_commands", 'verb="AUTH",class="5xx"', WRONG),
    ("smtp_commands", 'verb="DATA",class="3xx"', (2 * SENT, ANY)),
    ("smtp_replies", 'code="252"', 1),
    ("smtp_replies", 'code="535"', WRONG),
    ("messages", 'result="accepted",reason="none",listener="smtp"', (SENT + 2, SENT + 3)),
    ("messages", 'result="accepted",reason="none",listener="smtps"', SENT),
    ("messages", 'result="rejected",reason="size"', 1),
    ("messages", 'result="rejected",reason="bare_lf"', 1),
    ("messages", 'result="aborted",reason="client_gone"', 1),
    ("messages", 'instance="full",result="deferred",reason="store_full"', REFUSED),
    ("smtp_limits", 'limit="max_message_size"', 1),
    ("smtp_limits", 'limit="max_recipients"', 1),
    ("message_size_bytes", 'instance="main"', KEPT),
    ("message_recipients", 'instance="main"', KEPT),
    ("message_receive_duration_seconds", 'instance="main"', KEPT),
    ("message_ack_duration_seconds", 'instance="main"', KEPT),
    ("store_operation_duration_seconds", 'instance="main",op="commit",result="ok"', (1, ANY)),
    ("store_operation_duration_seconds", 'instance="full",op="commit",result="error"', (1, ANY)),
    ("store_errors", 'instance="full",kind="full"', REFUSED),
    ("store_recovered", 'instance="main",outcome="complete"', (1, ANY)),
    ("store_pruned", 'instance="main"', tuple(KILLED + kept - 100 for kept in KEPT)),
    ("tls_handshakes", 'mode="starttls",result="ok"', (1, ANY)),
    ("tls_handshakes", 'mode="implicit",result="ok",version="TLSv1.3"', CLIENTS),
    ("tls_handshakes", 'mode="implicit",result="error"', 1),
    ("tls_reloads", 'result="ok"', (1, ANY)),
    ("tls_reloads", 'result="error"', (1, ANY)),
    ("auth_reloads", 'result="ok"', 1),
    ("auth_attempts", 'mechanism="PLAIN",result="accepted"', CLIENTS),
    ("auth_attempts", 'mechanism="PLAIN",result="rejected"', WRONG),
    ("http_connections", 'result="accepted"', (1, ANY)),
    ("event_loop_lag_seconds", 'instance="main"', (1, ANY)),
    ("log_records", 'instance="main",level="info"', (2 * SENT, ANY)),
    ("log_records", 'instance="main",level="error"', (1, ANY)),
]
# Gauges: over which function of time, and what it must come to.
SWINGS = [
    ("smtp_connections_active", "max_over_time", 'instance="main",listener="smtp"', (2, ANY)),
    ("inflight_bytes", "max_over_time", 'instance="main"', (LARGE - 70_000, 400_000)),
    ("inflight_waiting", "max_over_time", 'instance="main"', 1),
    ("store_messages", "last_over_time", 'instance="main"', 100),
    ("store_bytes", "last_over_time", 'instance="main"', (100_000, ANY)),
    ("store_free_bytes", "min_over_time", 'instance="full"', (0, 100_000)),
    ("store_free_bytes", "max_over_time", 'instance="full"', (1_000_000, ANY)),
    ("tls_certificate_not_after_timestamp_seconds", "changes", 'instance="main"', (1, ANY)),
    ("ready", "min_over_time", 'instance="main",check="tls"', 0),
    ("ready", "max_over_time", 'instance="main",check="tls"', 1),
    ("draining", "max_over_time", 'instance="main"', 1),
    ("last_accepted_timestamp_seconds", "changes", 'instance="main"', (1, ANY)),
]
RESTS = {
    "build_info": "it says what runs",
    "smtp_connections_limit": "a setting",
    "inflight_limit_bytes": "a setting",
    "store_min_free_bytes": "a setting",
    "store_standbys": "only postgresql has standbys",
    "store_lost": "only postgresql can lose mail by a promotion",
    "store_standby_lag_bytes": "only postgresql has standbys",
    "store_size_bytes": "nobody makes the file system larger",
    "store_free_inodes": "a database is one file, however much is in it",
    "store_retries": "whether messages meet in a group that fails is chance",
    "metrics_defects": "it counts our defects",
    "log_records_dropped": "the container's log driver reads",
}
SUFFIXES = {"counter": "_total", "histogram": "_count", "gauge": ""}
KINDS = {spec.name: spec.kind for spec in TABLE}


def expressions():
    """Yield each expression with what it must come to."""
    for name, labels, wanted in MOVES:
        yield f"last_over_time(prixfixe_{name}{SUFFIXES[KINDS[name]]}{{{labels}}}[5m])", wanted
    for name, function, labels, wanted in SWINGS:
        yield f"{function}(prixfixe_{name}{{{labels}}}[5m])", wanted


def is_so(value, wanted):
    least, most = wanted if isinstance(wanted, tuple) else (wanted, wanted)
    return least <= value <= most


def unmoved(prometheus):
    """Return what has not come to what it must, a line each."""
    values = [(text, prometheus.value(text), wanted) for text, wanted in expressions()]
    return "\n".join(
        f"{text} is {value:g}, not {wanted}"
        for text, value, wanted in values
        if not is_so(value, wanted)
    )
