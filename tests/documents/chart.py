"""The JSON Schema of the Helm chart's values, and the list of settings in its values.yaml.

The settings in both come from the table of settings. A setting is either given under `settings` or
follows from another value of the chart, never both.
"""

import json
import textwrap

from prixfixe.settings import TABLE

# Settings that follow from other values, or that must stay as they are for probes and Services.
MANAGED = {
    "SMTP_BIND": "the pod's addresses",
    "SMTP_PORT": "service.smtp.port",
    "SMTP_TLS": "tls.required",
    "SMTP_TLS_CERT": "tls.existingSecret or tls.selfSigned",
    "SMTP_TLS_KEY": "tls.existingSecret",
    "SMTP_TLS_PORT": "tls.implicit",
    "SMTP_AUTH": "auth.mode",
    "SMTP_AUTH_USERS": "auth.existingSecret or auth.users",
    "SMTP_PROXY_PROTOCOL": "proxyProtocol",
    "SMTP_STORE": "store",
    "SMTP_STORE_QUORUM": "store.postgresql.quorum",
    "SMTP_SHUTDOWN_TIMEOUT": "shutdown.drainSeconds",
    "SMTP_HTTP_BIND": "the pod's addresses",
    "SMTP_HTTP_PORT": "service.http.port",
    "SMTP_HTTP_TOKEN": "http.token",
}


def free():
    """Return the settings that belong under `settings`."""
    return [one for one in TABLE if one.env not in MANAGED]


def listed():
    """Return the lines of values.yaml that show the settings; its end stands on the last one."""
    lines = []
    for one in free():
        lines += textwrap.wrap(one.help, 96, initial_indent="  # ", subsequent_indent="  # ")
        lines.append(f"  # {one.env}: {json.dumps(one.default)}")
    return "\n".join(lines) + "\n  # "


# --- the schema


def _object(**properties):
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _any_of(*values):
    return {"enum": list(values)}


def _number(least, most=None):
    return {"type": "integer", "minimum": least} | ({"maximum": most} if most else {})


TEXT = {"type": "string"}
SET = {"type": "string", "minLength": 1}
FLAG = {"type": "boolean"}
LIST = {"type": "array"}
TABLE_OF_TEXTS = {"type": "object", "additionalProperties": TEXT}
PORT = _number(1, 65535)
NOTHING = {"const": ""}
EMPTY = {"maxItems": 0}


def _settings():
    kinds = ["string", "number", "boolean"]
    rows = {one.env: {"type": kinds, "description": one.help} for one in free()}
    return {"type": "object", "additionalProperties": False, "properties": rows}


def _values():
    return {
        "global": {"type": "object"},  # Helm's own, where the chart is a part of another
        "image": _object(
            repository=SET,
            tag=TEXT,
            digest={"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
            pullPolicy=_any_of("IfNotPresent", "Always", "Never"),
        ),
        "imagePullSecrets": LIST,
        "nameOverride": TEXT,
        "fullnameOverride": TEXT,
        "settings": _settings(),
        "store": _object(
            type=_any_of("sqlite", "maildir", "postgresql", "memory", "discard"),
            persistence=_object(
                size={"type": "string", "pattern": "^[1-9][0-9]*([KMGTP]i?)?$"},
                storageClass=TEXT,
                accessMode=_any_of("ReadWriteOncePod", "ReadWriteOnce"),
                annotations=TABLE_OF_TEXTS,
            ),
            postgresql=_object(
                existingSecret=TEXT,
                key=SET,
                url={"type": "string", "pattern": "^(postgresql://.+)?$"},
                caSecret=TEXT,
                caKey=SET,
                quorum={"anyOf": [NOTHING, _number(0)]},
                migrate=FLAG,
                port=PORT,
            ),
        ),
        "replicas": {"anyOf": [_any_of("auto"), _number(1)]},
        "autoscaling": _object(
            enabled=FLAG,
            minReplicas=_number(2),
            maxReplicas=_number(2),
            targetCPUUtilizationPercentage=_number(1, 100),
        ),
        "tls": _object(existingSecret=TEXT, selfSigned=FLAG, required=FLAG, implicit=FLAG),
        "auth": _object(
            mode=_any_of("off", "optional", "required", "any"),
            existingSecret=TEXT,
            key=SET,
            users=TEXT,
        ),
        "http": _object(token=_object(existingSecret=TEXT, key=SET, value=TEXT)),
        "proxyProtocol": {"type": "array", "items": SET},
        "service": _object(
            smtp=_object(
                type=_any_of("ClusterIP", "LoadBalancer", "NodePort"),
                port=PORT,
                tlsPort=PORT,
                externalTrafficPolicy=_any_of("Local", "Cluster"),
                loadBalancerClass=TEXT,
                loadBalancerSourceRanges={"type": "array", "items": SET},
                annotations=TABLE_OF_TEXTS,
            ),
            http=_object(port=PORT, annotations=TABLE_OF_TEXTS),
        ),
        "shutdown": _object(preStopSeconds=_number(1, 300), drainSeconds=_number(1, 3600)),
        "networkPolicy": _object(enabled=FLAG, smtpFrom=LIST, httpFrom=LIST, databaseTo=LIST),
        "podDisruptionBudget": _object(enabled=FLAG),
        "serviceMonitor": _object(enabled=FLAG, interval=SET, labels=TABLE_OF_TEXTS),
        "resources": {"type": "object"},
        "extraEnv": LIST,
        "podAnnotations": TABLE_OF_TEXTS,
        "podLabels": TABLE_OF_TEXTS,
        "nodeSelector": TABLE_OF_TEXTS,
        "tolerations": LIST,
        "affinity": {"type": "object"},
        "topologySpreadConstraints": LIST,
        "priorityClassName": TEXT,
    }


def _at(path, schema):
    """Return a schema of the whole that asks something of the value at a path, which must be there."""
    for name in reversed(path.split(".")):
        schema = {"properties": {name: schema}, "required": [name]}
    return schema


def _all(**wanted):
    """Return a schema that asks something of several values; a dot in a path is written `__`."""
    return {"allOf": [_at(path.replace("__", "."), one) for path, one in wanted.items()]}


def _either(**wanted):
    return {"anyOf": [_at(path.replace("__", "."), one) for path, one in wanted.items()]}


ON = {"const": True}
OFF = {"const": False}

# If the first holds, the second must: values that contradict each other.
RULES = {
    "with `sqlite`, `maildir`, `memory` and `discard` there is one server": (
        _at("store.type", _any_of("sqlite", "maildir", "memory", "discard")),
        _at("replicas", _any_of("auto", 1)),
    ),
    "with `postgresql` there are two servers or more": (
        _at("store.type", {"const": "postgresql"}),
        _at("replicas", {"not": {"const": 1}}),
    ),
    "the number of servers follows the load with `postgresql` alone": (
        _at("autoscaling.enabled", ON),
        _at("store.type", {"const": "postgresql"}),
    ),
    "it is given or follows the load, not both": (
        _at("autoscaling.enabled", ON),
        _at("replicas", _any_of("auto")),
    ),
    "`postgresql` needs a URL, or a Secret that has it": (
        _at("store.type", {"const": "postgresql"}),
        _either(store__postgresql__existingSecret=SET, store__postgresql__url=SET),
    ),
    "the URL of the database is in one place": (
        _at("store.postgresql.existingSecret", SET),
        _at("store.postgresql.url", NOTHING),
    ),
    "other stores have no URL of a database": (
        _at("store.type", _any_of("sqlite", "maildir", "memory", "discard")),
        _all(store__postgresql__existingSecret=NOTHING, store__postgresql__url=NOTHING),
    ),
    "a certificate is made or in a Secret, not both": (
        _at("tls.selfSigned", ON),
        _at("tls.existingSecret", NOTHING),
    ),
    "required TLS needs a certificate": (
        _at("tls.required", ON),
        _either(tls__existingSecret=SET, tls__selfSigned=ON),
    ),
    "a TLS port needs a certificate": (
        _at("tls.implicit", ON),
        _either(tls__existingSecret=SET, tls__selfSigned=ON),
    ),
    "logins need users": (
        _at("auth.mode", _any_of("optional", "required")),
        _either(auth__existingSecret=SET, auth__users=SET),
    ),
    "without logins there are no users": (
        _at("auth.mode", _any_of("off", "any")),
        _all(auth__existingSecret=NOTHING, auth__users=NOTHING),
    ),
    "users are in one place": (_at("auth.existingSecret", SET), _at("auth.users", NOTHING)),
    "logins need TLS or `SMTP_AUTH_INSECURE`": (
        _at("auth.mode", _any_of("optional", "required", "any")),
        _either(
            tls__existingSecret=SET,
            tls__selfSigned=ON,
            settings__SMTP_AUTH_INSECURE=_any_of(True, "true"),
        ),
    ),
    "the token is in one place": (
        _at("http.token.existingSecret", SET),
        _at("http.token.value", NOTHING),
    ),
    "a balancer or node port with the policy `Cluster` needs `proxyProtocol`": (
        {
            "allOf": [
                _at("service.smtp.type", _any_of("LoadBalancer", "NodePort")),
                _at("service.smtp.externalTrafficPolicy", {"const": "Cluster"}),
            ]
        },
        _at("proxyProtocol", {"minItems": 1}),
    ),
    "options of a balancer need the type `LoadBalancer`": (
        _at("service.smtp.type", _any_of("ClusterIP", "NodePort")),
        _all(
            service__smtp__loadBalancerClass=NOTHING,
            service__smtp__loadBalancerSourceRanges=EMPTY,
        ),
    ),
    "peers need the NetworkPolicy to be enabled": (
        _at("networkPolicy.enabled", OFF),
        _all(
            networkPolicy__smtpFrom=EMPTY,
            networkPolicy__httpFrom=EMPTY,
            networkPolicy__databaseTo=EMPTY,
        ),
    ),
}


def schema():
    """Return the text of values.schema.json."""
    rules = [{"$comment": why, "if": one, "then": then} for why, (one, then) in RULES.items()]
    whole = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart prixfixe",
        "type": "object",
        "additionalProperties": False,
        "properties": _values(),
        "allOf": rules,
    }
    return json.dumps(whole, indent=1) + "\n"
