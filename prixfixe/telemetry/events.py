"""The table of log events: each event's level and fields, each field's type and meaning.

`docs/logs.md` and `deployment/logs.schema.json` are generated from it by
`python -m tests.documents`.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["EVENTS", "FIELDS", "MECHANISMS", "Event", "Field"]


class Field(NamedTuple):
    """One field: its type and its meaning.

    The type is JSON's, or `address`: a string that SMTP_LOG_ADDRESSES may mask. `values` lists all
    values of a field that has few. A `number` is written with so many `decimals`.
    """

    type: str
    help: str
    values: tuple[str, ...] = ()
    decimals: int = 3


class Event(NamedTuple):
    """One event: its level, its meaning and its fields.

    `optional` fields may be absent, `nullable` ones null. Records of an event that clients can
    provoke at will are limited in number (`is_limited`). Records that come with every message or
    session may be written a little later, many at once (`is_frequent`).
    """

    level: str
    help: str
    fields: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    nullable: tuple[str, ...] = ()
    is_limited: bool = False
    is_frequent: bool = False


MECHANISMS = ("PLAIN", "LOGIN", "SCRAM-SHA-256")
FIELDS: dict[str, Field] = {
    "session": Field("string", "the connection, the same in all its records; 16 hex digits"),
    "id": Field("string", "the message, as in its 250, its Received field, the API and the store"),
    "peer": Field("string", "the client, `host:port` or `[v6]:port`; behind PROXY, the real one"),
    "listener": Field("string", "which port it came to", ("smtp", "smtps")),
    "helo": Field("string", "the name the client gave in HELO or EHLO"),
    "tls": Field("string", "protocol and cipher; null without TLS"),
    "user": Field("address", "who logged in; null without a login"),
    "sender": Field("address", "the address in MAIL; empty for a bounce"),
    "recipient": Field("address", "the first address in RCPT, or the one that was refused"),
    "reply": Field("string", "what the client was told"),
    "recipients": Field("integer", "how many recipients the message has"),
    "size": Field("integer", "bytes of the message"),
    "protocol": Field("string", "the keyword of RFC 3848 or RFC 6531, such as ESMTPS"),
    "ms": Field(
        "number", "milliseconds from the end of the data to the store's answer", decimals=2
    ),
    "kept": Field("boolean", "whether the message is in the store after all"),
    "messages": Field("integer", "messages the session brought"),
    "errors": Field("integer", "commands refused with 5xx"),
    "limit": Field("string", "the last limit the session met, as in docs/limits.md; else empty"),
    "end": Field(
        "string",
        "how the session ended",
        ("quit", "eof", "timeout", "shed", "shutdown", "fault", "error"),
    ),
    "seconds": Field("number", "how long the session, or the hook, lasted"),
    "handler": Field("string", "SMTP_HANDLER"),
    "hooks": Field("string", "methods of the handler, with spaces between"),
    "hook": Field("string", "the method of the handler"),
    "reason": Field("string", "why, in a few words"),
    "network": Field("string", "an IPv4 address or an IPv6 /64; behind PROXY, the real one"),
    "failures": Field("integer", "failed logins from there"),
    "lockout": Field("number", "seconds without another failure until logins are heard again"),
    "mode": Field("string", "how TLS began", ("starttls", "implicit")),
    "mechanism": Field("string", "the SASL mechanism", MECHANISMS),
    "what": Field("string", "the certificate or the users", ("tls", "auth")),
    "names": Field("string", "whom the certificate names"),
    "files": Field("integer", "descriptors that the process may open (RLIMIT_NOFILE)"),
    "needed": Field("integer", "descriptors that the settings can take"),
    "connections": Field("integer", "connections of SMTP that fit"),
    "expires": Field("string", "when the certificate ends, in UTC"),
    "of": Field("string", "the event whose records were withheld"),
    "suppressed": Field("integer", "how many records were withheld since the last such record"),
    "smtp": Field("string", "address and port of SMTP"),
    "smtps": Field("string", "address and port of implicit TLS; null without"),
    "http": Field("string", "address and port of HTTP; null without"),
    "store": Field("string", "SMTP_STORE"),
    "version": Field("string", "the version of PrixFixe"),
    "pid": Field("integer", "the process"),
    "sessions": Field("integer", "sessions under way"),
    "complete": Field("integer", "messages found whole"),
    "discarded_partial": Field("integer", "files, or commits of messages, found half-written"),
    "quarantined": Field("integer", "commits of messages found damaged"),
    "lost": Field("integer", "acknowledged messages that are not there"),
    "saved": Field("string", "the copy of a log SQLite would not take whole; null without"),
    "logger": Field("string", "the library that speaks"),
    "text": Field("string", "what it says"),
    "trace": Field("string", "a Python traceback"),
}

_MESSAGE = ("session", "id", "peer")
EVENTS: dict[str, Event] = {
    "session began": Event(
        "debug", "a client was let in, before its greeting", ("session", "peer", "listener")
    ),
    "connection refused": Event(
        "warning",
        "a client was turned away",
        ("session", "peer", "listener", "reason"),
        is_limited=True,
    ),
    "tls handshake failed": Event(
        "info",
        "a handshake failed, or its client or its time ended it",
        ("session", "peer", "mode", "reason"),
        is_limited=True,
    ),
    "login refused": Event(
        "warning",
        "credentials were not accepted; they and the user's name are not told",
        ("session", "peer", "mechanism", "reason"),
        is_limited=True,
    ),
    "logins locked out": Event(
        "warning",
        "so many logins failed that none is heard from that network but of users known from there",
        ("network", "failures", "lockout"),
        is_limited=True,
    ),
    "message kept": Event(
        "info",
        "a message is in the store and its client is told 250",
        (*_MESSAGE, "sender", "recipients", "recipient", "size", "protocol", "ms"),
        is_frequent=True,
    ),
    "message refused": Event(
        "info",
        "a message is refused, by a fault or a handler perhaps for now; `reason` as in"
        " `prixfixe_messages_total`",
        ("session", "peer", "sender", "recipients", "recipient", "reply", "reason"),
        is_limited=True,
    ),
    "recipient refused": Event(
        "info",
        "a RCPT is refused; the message may yet be stored for others",
        ("session", "peer", "sender", "recipient", "reply"),
        is_limited=True,
    ),
    "message deferred": Event(
        "warning",
        "a message could not be kept, and its client is told to try again",
        (*_MESSAGE, "size", "reason"),
        is_limited=True,
    ),
    "store answered late": Event(
        "warning",
        "the store answered after its client was told to try again",
        (*_MESSAGE, "kept", "reason"),
    ),
    "session ended": Event(
        "info",
        "a session is over",
        (
            *("session", "peer", "helo", "tls", "user", "messages"),
            *("errors", "limit", "end", "seconds"),
        ),
        nullable=("tls", "user"),
        is_frequent=True,
    ),
    "handler in use": Event(
        "info", "the start loaded SMTP_HANDLER; `hooks` are those that it has", ("handler", "hooks")
    ),
    "handler failed": Event(
        "error",
        "a hook of the handler raised an exception, and the client is told 451",
        ("session", "peer", "hook", "reason", "trace"),
        is_limited=True,
    ),
    "handler reply refused": Event(
        "error",
        "a hook returned what is no reply to its command, and the client is told 451",
        ("session", "peer", "hook", "reason"),
        is_limited=True,
    ),
    "handler gave no answer": Event(
        "warning",
        "a hook took longer than SMTP_STORE_TIMEOUT, and was given up; the client is told 451",
        ("session", "peer", "hook", "seconds"),
        is_limited=True,
    ),
    "handler blocked the loop": Event(
        "warning",
        "a hook did not wait but worked for so long; all sessions and health checks stood still",
        ("session", "peer", "hook", "seconds"),
        is_limited=True,
    ),
    "records withheld": Event(
        "warning", "there were too many records of one event in a second", ("of", "suppressed")
    ),
    "records dropped": Event(
        "warning",
        "standard output was not read for so long that records had to be dropped",
        ("suppressed",),
    ),
    "unexpected error": Event(
        "error",
        "a defect of the server; please report it",
        ("reason", "trace"),
        ("session", "peer"),
        is_limited=True,
    ),
    "ready": Event(
        "info",
        "every listener is bound",
        ("smtp", "smtps", "http", "store", "version", "pid"),
        nullable=("smtps", "http"),
    ),
    "http address": Event(
        "info",
        "where HTTP is, in the words of Mailpit; in the image `prixfixe-mailpit` only",
        ("text",),
    ),
    "http without token": Event(
        "warning",
        "whoever reaches the HTTP port may read and delete mail: it is on all addresses, and"
        " SMTP_HTTP_TOKEN is not set",
        ("http",),
    ),
    "faults with a lasting store": Event(
        "warning",
        "SMTP_FAULTS is on beside a store that outlives the server: tests may refuse its mail",
        ("store",),
    ),
    "setting without effect": Event(
        "warning", "a variable is set and has no effect beside the others", ("reason",)
    ),
    "too few descriptors": Event(
        "warning",
        "the system allows fewer than all connections, HTTP and the store can take",
        ("files", "needed", "connections", "reason"),
    ),
    "store lost mail": Event(
        "error",
        "the new primary of the database lacks mail that was acknowledged: a standby that was"
        " behind was promoted",
        ("lost",),
    ),
    "store recovered": Event(
        "warning",
        "the store was not closed well the last time",
        ("complete", "discarded_partial", "quarantined", "saved"),
        nullable=("saved",),
    ),
    "index rebuilt": Event(
        "warning", "the search index was damaged or old, and is built again", ("reason",)
    ),
    "index stopped": Event(
        "warning",
        "the search index cannot go on for now; mail is kept, and searches say what they left out",
        ("reason",),
        is_limited=True,
    ),
    "certificate in use": Event(
        "info", "at the start, and when it is another one than before", ("names", "expires")
    ),
    "certificate expired": Event(
        "warning",
        "the one in use is over, and is served all the same",
        ("names", "expires"),
    ),
    "reload": Event("info", "SIGHUP came"),
    "reloaded": Event("info", "a new certificate or users file is in use", ("what",)),
    "not reloaded": Event(
        "error", "a new one cannot be used, the old one stays", ("what", "reason")
    ),
    "library warning": Event(
        "warning",
        "the event loop or the HTTP server warns",
        ("logger", "text"),
        ("trace",),
        is_limited=True,
    ),
    "library error": Event(
        "error",
        "the event loop or the HTTP server reports an error",
        ("logger", "text"),
        ("trace",),
        is_limited=True,
    ),
    "stopping": Event("info", "a signal to stop came", ("sessions",)),
    "stopped": Event("info", "the store is closed", ()),
}
