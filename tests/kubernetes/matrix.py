"""Values that the chart accepts, and values that it refuses.

Each rule of the schema has a row of values that breaks it.
"""

from typing import Any

__all__ = ["REFUSED", "ROWS"]

URL = "postgresql://prixfixe:secret@db.example.com/mail"
POSTGRESQL = {"store": {"type": "postgresql", "postgresql": {"url": URL}}}
TLS = {"existingSecret": "cert"}
PEER = {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}

ROWS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "maildir": {"store": {"type": "maildir"}},
    "memory": {"store": {"type": "memory"}},
    "discard": {"store": {"type": "discard"}},
    "volume": {
        "store": {
            "persistence": {
                "size": "2Ti",
                "storageClass": "fast",
                "accessMode": "ReadWriteOnce",
                "annotations": {"backup": "daily"},
            }
        }
    },
    "postgresql": POSTGRESQL,
    "postgresql, own Secret and CA": {
        "store": {
            "type": "postgresql",
            "postgresql": {
                "existingSecret": "db",
                "key": "uri",
                "caSecret": "db-ca",
                "migrate": False,
                "port": 6432,
            },
        },
        "replicas": 5,
        "networkPolicy": {"databaseTo": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]},
    },
    "postgresql, by load": {
        **POSTGRESQL,
        "autoscaling": {"enabled": True, "maxReplicas": 9, "targetCPUUtilizationPercentage": 60},
    },
    "monitored": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    "tls": {"tls": {**TLS, "required": True, "implicit": True}},
    "self-signed": {"tls": {"selfSigned": True}},
    "logins": {"tls": TLS, "auth": {"mode": "required", "users": "alice:hash\n"}},
    "logins, own Secret": {
        "tls": TLS,
        "auth": {"mode": "optional", "existingSecret": "people", "key": "htpasswd"},
    },
    "logins in clear": {"auth": {"mode": "any"}, "settings": {"SMTP_AUTH_INSECURE": True}},
    "token": {"http": {"token": {"value": "s3cret"}}},
    "token, own Secret": {"http": {"token": {"existingSecret": "api", "key": "bearer"}}},
    "all secrets": {
        **POSTGRESQL,
        "tls": TLS,
        "auth": {"mode": "required", "users": "alice:hash\n"},
        "http": {"token": {"value": "s3cret"}},
    },
    "balancer": {
        "service": {
            "smtp": {
                "type": "LoadBalancer",
                "loadBalancerClass": "example.com/own",
                "loadBalancerSourceRanges": ["192.0.2.0/24"],
                "annotations": {"example.com/ip": "192.0.2.1"},
            }
        }
    },
    "balancer with PROXY": {
        "proxyProtocol": ["10.0.0.0/8", "fd00::/8"],
        "service": {"smtp": {"type": "LoadBalancer", "externalTrafficPolicy": "Cluster"}},
    },
    "node port": {"service": {"smtp": {"type": "NodePort"}}},
    "settings": {
        "settings": {
            "SMTP_DOMAIN": "mx.example.com",
            "SMTP_MAX_MESSAGE_SIZE": 26214400,
            "SMTP_TIMEOUT": 0.5,
            "SMTP_STRICT": True,
            "SMTP_RECIPIENTS": "@example.com",
            "SMTP_STORE_MAX_AGE": "7d",
        }
    },
    "peers": {"networkPolicy": {"smtpFrom": [PEER], "httpFrom": [PEER]}},
    "no policies": {
        **POSTGRESQL,
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
    },
    "the rest": {
        "image": {"repository": "registry.example.com/mail", "digest": f"sha256:{'0' * 64}"},
        "imagePullSecrets": [{"name": "pull"}],
        "nameOverride": "post",
        "fullnameOverride": "mx",
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
        "podAnnotations": {"example.com/note": "yes"},
        "podLabels": {"team": "mail"},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "mail", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
        ],
        "priorityClassName": "high",
        "shutdown": {"preStopSeconds": 10, "drainSeconds": 300},
        "service": {"smtp": {"port": 2525}, "http": {"port": 80, "annotations": {"a": "b"}}},
    },
}

# By the rule of tests/documents/chart.py that refuses, or another reason: values, and a word that
# the error has.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "with `sqlite`, `maildir`, `memory` and `discard` there is one server": (
        {"replicas": 2},
        "/replicas",
    ),
    "with `postgresql` there are two servers or more": ({**POSTGRESQL, "replicas": 1}, "/replicas"),
    "the number of servers follows the load with `postgresql` alone": (
        {"autoscaling": {"enabled": True}},
        "/store/type",
    ),
    "it is given or follows the load, not both": (
        {**POSTGRESQL, "autoscaling": {"enabled": True}, "replicas": 3},
        "/replicas",
    ),
    "`postgresql` needs a URL, or a Secret that has it": (
        {"store": {"type": "postgresql"}},
        "/store/postgresql/url",
    ),
    "the URL of the database is in one place": (
        {"store": {"type": "postgresql", "postgresql": {"url": URL, "existingSecret": "db"}}},
        "/store/postgresql/url",
    ),
    "other stores have no URL of a database": (
        {"store": {"type": "sqlite", "postgresql": {"url": URL}}},
        "/store/postgresql/url",
    ),
    "a certificate is made or in a Secret, not both": (
        {"tls": {**TLS, "selfSigned": True}},
        "/tls/existingSecret",
    ),
    "required TLS needs a certificate": ({"tls": {"required": True}}, "/tls/existingSecret"),
    "a TLS port needs a certificate": ({"tls": {"implicit": True}}, "/tls/existingSecret"),
    "logins need users": ({"tls": TLS, "auth": {"mode": "required"}}, "/auth/users"),
    "without logins there are no users": ({"auth": {"users": "alice:hash"}}, "/auth/users"),
    "users are in one place": (
        {"tls": TLS, "auth": {"mode": "required", "users": "a:b", "existingSecret": "people"}},
        "/auth/users",
    ),
    "logins need TLS or `SMTP_AUTH_INSECURE`": (
        {"auth": {"mode": "any"}},
        "/tls/existingSecret",
    ),
    "the token is in one place": (
        {"http": {"token": {"value": "s3cret", "existingSecret": "api"}}},
        "/http/token/value",
    ),
    "a balancer or node port with the policy `Cluster` needs `proxyProtocol`": (
        {"service": {"smtp": {"type": "LoadBalancer", "externalTrafficPolicy": "Cluster"}}},
        "/proxyProtocol",
    ),
    "options of a balancer need the type `LoadBalancer`": (
        {"service": {"smtp": {"loadBalancerSourceRanges": ["192.0.2.0/24"]}}},
        "/service/smtp/loadBalancerSourceRanges",
    ),
    "peers need the NetworkPolicy to be enabled": (
        {"networkPolicy": {"enabled": False, "httpFrom": [PEER]}},
        "/networkPolicy/httpFrom",
    ),
    # --- not rules, but kinds and names
    "a misspelt setting": ({"settings": {"SMTP_DOMIAN": "mx.example.com"}}, "SMTP_DOMIAN"),
    "a setting that another value gives": ({"settings": {"SMTP_PORT": 25}}, "SMTP_PORT"),
    "a secret among the settings": ({"settings": {"SMTP_HTTP_TOKEN": "x"}}, "SMTP_HTTP_TOKEN"),
    "a misspelt value": ({"replica": 1}, "replica"),
    "a misspelt value of a store": ({"store": {"size": "1Gi"}}, "size"),
    "an unknown store": ({"store": {"type": "mysql"}}, "/store/type"),
    "no server at all": ({"replicas": 0}, "/replicas"),
    "a number as text": ({"service": {"smtp": {"port": "25"}}}, "/service/smtp/port"),
    "a preStop of nothing": ({"shutdown": {"preStopSeconds": 0}}, "/shutdown/preStopSeconds"),
    "a tag as digest": ({"image": {"digest": "1.0"}}, "/image/digest"),
    "a URL of another database": (
        {"store": {"type": "postgresql", "postgresql": {"url": "mysql://x"}}},
        "/store/postgresql/url",
    ),
    "a list of settings": ({"settings": {"SMTP_RECIPIENTS": ["@a.example"]}}, "SMTP_RECIPIENTS"),
}
