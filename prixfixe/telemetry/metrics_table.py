"""The table of metrics: each metric's name, type, meaning, labels with all their values, buckets.

`docs/metrics.md` is generated from it by `python -m tests.documents`. No label takes its value from
a client.
"""

from __future__ import annotations

from typing import NamedTuple

from prixfixe.telemetry.events import MECHANISMS

__all__ = ["CODES", "TABLE", "VERBS", "Spec"]

VERBS = (
    *("HELO", "EHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY", "HELP"),
    *("STARTTLS", "AUTH", "EXPN", "TURN", "ETRN", "SEND", "SOML", "SAML", "OTHER"),
)
CODES = (
    *(211, 214, 220, 221, 235, 250, 252, 334, 354, 421, 451, 452, 454),
    *(500, 501, 502, 503, 504, 530, 535, 538, 550, 552, 553, 554, 555),
)
_LISTENER = ("smtp", "smtps")
_KINDS = ("full", "io", "closed", "conflict", "internal", "timeout", "displaced", "quorum")
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_KIB, _MIB = 1024, 1024 * 1024


class Spec(NamedTuple):
    """One metric; `labels` maps a label to its values, `buckets` are upper bounds.

    A label without values here has one fixed value per server, such as its store or version.
    """

    name: str
    kind: str
    help: str
    labels: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - a NamedTuple's default, never written
    buckets: tuple[float, ...] = ()


TABLE: tuple[Spec, ...] = (
    Spec(
        "build_info",
        "gauge",
        "Always 1; the labels say what runs.",
        {"version": (), "revision": (), "store": (), "python": ()},
    ),
    Spec(
        "smtp_connections",
        "counter",
        "Connections by what became of them.",
        {
            "listener": _LISTENER,
            "result": (
                *("accepted", "over_limit", "over_ip_limit", "rate_limited"),
                *("bad_proxy", "draining", "probe"),
            ),
        },
    ),
    Spec(
        "smtp_connections_active",
        "gauge",
        "Sessions now, health probes included.",
        {"listener": _LISTENER},
    ),
    Spec("smtp_connections_limit", "gauge", "SMTP_MAX_CONNECTIONS."),
    Spec(
        "smtp_session_duration_seconds",
        "histogram",
        "How long sessions lasted, by how they ended.",
        {"end": ("quit", "eof", "timeout", "shed", "shutdown", "fault", "error")},
        (0.05, 0.25, 1, 5, 15, 60, 300, 600),
    ),
    Spec(
        "smtp_commands",
        "counter",
        "Commands by verb and class of reply.",
        {"verb": VERBS, "class": ("2xx", "3xx", "4xx", "5xx")},
    ),
    Spec("smtp_replies", "counter", "Replies by code.", {"code": (*map(str, CODES), "other")}),
    Spec(
        "messages",
        "counter",
        "Messages by result and reason, each MAIL at most once.",
        {
            "listener": _LISTENER,
            "result": ("accepted", "rejected", "deferred", "aborted"),
            "reason": (
                *(
                    "none",
                    "size",
                    "content",
                    "bare_lf",
                    "recipient",
                    "tls",
                    "auth",
                    "sequence",
                    "syntax",
                ),
                *("policy", "handler", "store_error", "store_full", "internal", "store_timeout"),
                *("client_gone", "timeout", "shed", "shutdown", "fault"),
            ),
        },
    ),
    Spec(
        "smtp_limits",
        "counter",
        "Limits met by sessions, named for their settings; those of connections are above.",
        {
            "limit": (
                *("timeout", "max_session_time", "min_data_rate", "stress_timeout"),
                *("max_errors", "failed_logins", "max_messages", "max_recipients"),
                *("max_message_size", "max_inflight", "store_timeout", "faults"),
            )
        },
    ),
    Spec("inflight_bytes", "gauge", "Bytes of message data beyond 64 KiB a message in memory."),
    Spec("inflight_limit_bytes", "gauge", "SMTP_MAX_INFLIGHT, or more where one message needs it."),
    Spec("inflight_waiting", "gauge", "Messages that wait for memory, unread."),
    Spec(
        "message_size_bytes",
        "histogram",
        "Body bytes of accepted messages.",
        {},
        (*(_KIB * n for n in (1, 4, 16, 64, 256)), *(_MIB * n for n in (1, 4, 8, 16, 32))),
    ),
    Spec(
        "message_recipients",
        "histogram",
        "Recipients of accepted messages.",
        {},
        (1, 2, 5, 10, 25, 50, 100),
    ),
    Spec(
        "message_receive_duration_seconds",
        "histogram",
        "From 354 or the first chunk to the end of data.",
        {},
        (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300),
    ),
    Spec(
        "message_ack_duration_seconds",
        "histogram",
        "From the end of data to its 250: the time a client waits for durability.",
        {},
        _FAST,
    ),
    Spec(
        "store_operation_duration_seconds",
        "histogram",
        "Store operations; a commit is one group of messages.",
        {
            "backend": (),
            "op": ("open", "commit", "delete", "probe", "settle", "undo", "close"),
            "result": ("ok", "error"),
        },
        _FAST,
    ),
    Spec("store_errors", "counter", "Failed puts by kind.", {"backend": (), "kind": _KINDS}),
    Spec(
        "store_retries",
        "counter",
        "Groups of messages that failed and were tried once more, message by message.",
        {"backend": (), "kind": _KINDS},
    ),
    Spec("store_messages", "gauge", "Messages stored now.", {"backend": ()}),
    Spec("store_bytes", "gauge", "Bytes of the messages stored now.", {"backend": ()}),
    Spec("store_free_bytes", "gauge", "Free bytes of the store's file system.", {"backend": ()}),
    Spec("store_size_bytes", "gauge", "Size of the store's file system.", {"backend": ()}),
    Spec(
        "store_min_free_bytes",
        "gauge",
        "SMTP_STORE_MIN_FREE: with less free, mail is deferred.",
        {"backend": ()},
    ),
    Spec("store_free_inodes", "gauge", "Free inodes of the store's file system.", {"backend": ()}),
    Spec(
        "store_standbys",
        "gauge",
        "Synchronous standbys of a postgresql: store that are connected.",
        {"backend": ()},
    ),
    Spec(
        "store_standby_lag_bytes",
        "gauge",
        "Bytes of log that the last of them has not flushed yet.",
        {"backend": ()},
    ),
    Spec(
        "store_recovered",
        "counter",
        "What opening the store found after a crash.",
        {"outcome": ("complete", "discarded_partial", "quarantined")},
    ),
    Spec(
        "store_lost",
        "counter",
        "Acknowledged messages that the new primary of a postgresql: store lacks.",
        {"backend": ()},
    ),
    Spec("store_pruned", "counter", "Messages deleted by retention.", {"backend": ()}),
    Spec(
        "tls_handshakes",
        "counter",
        "TLS handshakes.",
        {
            "mode": ("starttls", "implicit"),
            "version": ("TLSv1.2", "TLSv1.3", "none"),
            "result": ("ok", "error"),
        },
    ),
    Spec(
        "tls_certificate_not_after_timestamp_seconds",
        "gauge",
        "When the certificate in use expires; absent without one.",
    ),
    Spec(
        "tls_reloads",
        "counter",
        "Reloads of the certificate and its key; error: the old pair stays.",
        {"result": ("ok", "error")},
    ),
    Spec(
        "auth_reloads",
        "counter",
        "Reloads of the users file; error: the old users stay.",
        {"result": ("ok", "error")},
    ),
    Spec(
        "auth_attempts",
        "counter",
        "AUTH exchanges that came to a verdict.",
        {
            "mechanism": (*MECHANISMS, "other"),
            "result": ("accepted", "rejected", "unavailable", "blocked"),
        },
    ),
    Spec(
        "http_connections",
        "counter",
        "HTTP connections, and those ended for a newcomer or for want of a request.",
        {"result": ("accepted", "replaced", "timeout")},
    ),
    Spec(
        "event_loop_lag_seconds",
        "histogram",
        "How late the event loop ran a timer.",
        {},
        (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5),
    ),
    Spec(
        "ready",
        "gauge",
        "Readiness by check, 1 or 0.",
        {"check": ("listeners", "tls", "auth", "store", "draining")},
    ),
    Spec("draining", "gauge", "1 from SIGTERM on."),
    Spec("last_accepted_timestamp_seconds", "gauge", "When a message was last accepted."),
    Spec(
        "log_records",
        "counter",
        "Log records by level.",
        {"level": ("debug", "info", "warning", "error", "critical")},
    ),
    Spec("log_records_dropped", "counter", "Log records dropped: nobody read standard output."),
    Spec("metrics_defects", "counter", "Updates with a label outside this table: a defect."),
)
