"""The Helm chart, by the real helm: what it makes of every row of values, and what it refuses.

No cluster is here. What needs one, such as a rollout, is played with containers
(tests/container/test_kubernetes.py).
"""

import copy
import json
import re

import pytest
import yaml

from prixfixe import __version__
from prixfixe.settings import TABLE, load
from prixfixe.stores.registry import BUILT_IN
from tests.documents import chart
from tests.kubernetes.matrix import REFUSED, ROWS, TLS, URL
from tests.kubernetes.rendering import CHART, NAMESPACE, attempt, render
from tests.kubernetes.security import violations

OLDEST = "1.30"  # its kubelet knows a preStop that sleeps
MOUNTED = {"users": "alice:hash\n", "token": "s3cret", "url": URL}


@pytest.fixture(params=ROWS)
def row(request):
    return request.param


@pytest.fixture
def made(row):
    return render(ROWS[row])


def seconds(container):
    return container["lifecycle"]["preStop"]["sleep"]["seconds"]


def labels_of(workload):
    return workload["spec"]["template"]["metadata"]["labels"]


def annotations_of(values):
    return render(values).workload["spec"]["template"]["metadata"]["annotations"]


# --- every row


def test_the_linter_has_nothing_to_say(row):
    done = attempt(ROWS[row], "lint", "--strict", "--quiet")
    assert (done.returncode, done.stdout + done.stderr) == (0, ""), done


def test_old_and_new_kubernetes_take_it(made):
    validate = pytest.importorskip("kubernetes_validate")
    for one in made.objects:
        if one["kind"] == "ServiceMonitor":  # a kind of the operator of Prometheus
            continue
        for version in (OLDEST, validate.latest_version()):
            validate.validate(one, version, strict=True)


@pytest.mark.parametrize("values", ["defaults", "all secrets"])
def test_every_version_of_kubernetes_takes_it(values):
    validate = pytest.importorskip("kubernetes_validate")
    versions = {one for one in validate.utils.all_versions() if one >= OLDEST}
    assert len(versions) >= 8
    for one in render(ROWS[values]).objects:
        for version in versions:
            validate.validate(one, version, strict=True)


def test_the_oldest_version_is_the_charts():
    facts = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert facts["kubeVersion"] == f">={OLDEST}.0-0"


def test_pod_security_restricted_is_kept(made):
    assert {str(violations(pod)) for pod in made.pods} == {"[]"}
    for pod in made.pods:
        for container in (*pod.get("initContainers", []), *pod["containers"]):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False  # SMTP_PORT=tcp://… would be no port
        assert pod["securityContext"]["runAsUser"] == 1000  # as the image has it


def test_the_server_takes_its_settings(row, made):
    environ = made.environ
    wanted = ROWS[row].get("store", {}).get("type", "sqlite")
    if wanted not in BUILT_IN:
        pytest.skip(f"this PrixFixe has no store {wanted}")
    settings = load(environ, lambda path: MOUNTED.get(path.rpartition("/")[2], "postgresql://x"))
    assert settings.store.startswith(f"{wanted}:")
    assert (settings.port, settings.http_port, settings.bind) == (2525, 8025, "")
    for name, value in ROWS[row].get("settings", {}).items():
        assert environ[name].lower() == str(value).lower()


def test_every_file_that_a_setting_names_is_mounted(made):
    for name, value in made.environ.items():
        if value.startswith("/run/"):
            secret, key = made.file(value)
            assert secret, name
            assert key


def test_no_secret_is_in_the_config_map(made):
    text = json.dumps(made.one("ConfigMap"))
    assert not [one for one in MOUNTED.values() if one.strip() in text]


def test_the_grace_is_longer_than_the_drain(made):
    drain = int(made.environ["SMTP_SHUTDOWN_TIMEOUT"])
    grace = made.pod["terminationGracePeriodSeconds"]
    assert seconds(made.container) >= 5
    assert grace >= seconds(made.container) + drain + 30


def test_probes_ask_for_life_and_readiness(made):
    container = made.container
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    paths = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for name, path in paths.items():
        asked = container[name]["httpGet"]
        assert (asked["path"], ports[asked["port"]]) == (path, int(made.environ["SMTP_HTTP_PORT"]))
    assert ports["smtp"] == int(made.environ["SMTP_PORT"])
    assert str(ports.get("smtps", "off")) == made.environ.get("SMTP_TLS_PORT", "off")


def test_only_servers_are_selected(made):
    pods = [labels_of(made.workload), *(one["metadata"]["labels"] for one in made.all("Pod"))]
    selectors = [one["spec"]["selector"] for one in made.all("Service")]
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in made.all("NetworkPolicy")]
    kinds = ("PodDisruptionBudget", made.workload["kind"])
    selectors += [
        one["spec"]["selector"]["matchLabels"] for kind in kinds for one in made.all(kind)
    ]
    assert len(selectors) >= 3
    for selector in selectors:
        assert [selector.items() <= pod.items() for pod in pods] == [True, *[False] * len(pods[1:])]


def test_services_lead_to_ports_that_are_there(made):
    there = {one["name"] for one in made.container["ports"]}
    led = {one["targetPort"] for service in made.all("Service") for one in service["spec"]["ports"]}
    assert led == there


def test_every_object_is_in_the_namespace_of_the_release(made):
    assert {one["metadata"]["namespace"] for one in made.objects} == {NAMESPACE}


# --- the workload follows from the store


@pytest.mark.parametrize("kind", ["sqlite", "maildir"])
def test_one_server_owns_a_volume(kind):
    made = render({"store": {"type": kind}})
    spec = made.one("StatefulSet")["spec"]
    assert spec["replicas"] == 1
    assert spec["persistentVolumeClaimRetentionPolicy"] == dict.fromkeys(
        ("whenDeleted", "whenScaled"), "Retain"
    )
    claim = spec["volumeClaimTemplates"][0]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    mounts = {one["name"]: one["mountPath"] for one in made.container["volumeMounts"]}
    assert made.environ["SMTP_STORE"].startswith(f"{kind}:{mounts[claim['metadata']['name']]}/")
    assert not made.all("PodDisruptionBudget")  # it would keep nodes from being emptied
    assert made.pod["securityContext"]["fsGroup"] == 1000


def test_servers_of_one_database_are_replaced_one_by_one():
    made = render(ROWS["postgresql"])
    spec = made.one("Deployment")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert made.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    keys = [one["topologyKey"] for one in made.pod["topologySpreadConstraints"]]
    assert keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert [one["args"] for one in made.pod["initContainers"]] == [["migrate"]]
    assert made.environ["SMTP_STORE_FILE"] == "/run/secrets/prixfixe/url"


def test_the_number_of_servers_follows_the_load():
    made = render(ROWS["postgresql, by load"])
    spec = made.one("HorizontalPodAutoscaler")["spec"]
    target = spec["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", made.workload["metadata"]["name"])
    assert "replicas" not in made.workload["spec"]  # an upgrade would set it back
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 9)
    assert spec["metrics"][0]["resource"]["target"]["averageUtilization"] == 60
    assert made.all("PodDisruptionBudget")
    assert not render(ROWS["postgresql"]).all("HorizontalPodAutoscaler")


def test_prometheus_finds_the_port_of_the_metrics():
    made = render(ROWS["monitored"])
    monitor = made.one("ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    [endpoint] = monitor["spec"]["endpoints"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    ports = [
        (one["metadata"]["name"], port["name"])
        for one in made.all("Service")
        if wanted <= one["metadata"]["labels"].items()
        for port in one["spec"]["ports"]
        if port["name"] == endpoint["port"]
    ]
    assert ports == [(made.one("Service", "-http")["metadata"]["name"], "http")]
    assert endpoint["path"] == "/metrics"
    assert not render({}).all("ServiceMonitor")


@pytest.mark.parametrize("kind", ["memory", "discard"])
def test_a_store_without_a_disk_needs_no_volume(kind):
    made = render({"store": {"type": kind}})
    spec = made.one("Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert [one["name"] for one in made.pod["volumes"]] == ["tmp"]


def test_only_servers_of_a_database_may_go_out():
    assert render({}).one("NetworkPolicy")["spec"]["egress"] == []
    values = ROWS["postgresql, own Secret and CA"]
    dns, database = render(values).one("NetworkPolicy")["spec"]["egress"]
    assert {one["port"] for one in dns["ports"]} == {53}
    assert database["ports"] == [{"port": 6432}]
    assert database["to"] == values["networkPolicy"]["databaseTo"]


def test_http_is_for_the_namespace_unless_peers_are_named():
    smtp, http = render({}).one("NetworkPolicy")["spec"]["ingress"]
    assert "from" not in smtp
    assert http["from"] == [{"podSelector": {}}]
    smtp, http = render(ROWS["peers"]).one("NetworkPolicy")["spec"]["ingress"]
    assert smtp["from"] == http["from"] == ROWS["peers"]["networkPolicy"]["smtpFrom"]


# --- secrets


def test_secrets_are_made_from_values():
    made = render(ROWS["all secrets"])
    for path, value in MOUNTED.items():
        assert made.secret(*made.file(f"/run/secrets/prixfixe/{path}")) == value


@pytest.mark.parametrize(
    ("name", "path", "wanted"),
    [
        ("token, own Secret", "/run/secrets/prixfixe/token", ("api", "bearer")),
        ("logins, own Secret", "/run/secrets/prixfixe/users", ("people", "htpasswd")),
        ("postgresql, own Secret and CA", "/run/secrets/prixfixe/url", ("db", "uri")),
        ("postgresql, own Secret and CA", "/run/postgresql/ca.crt", ("db-ca", "ca.crt")),
        ("tls", "/run/tls/tls.crt", ("cert", "tls.crt")),
        ("tls", "/run/tls/tls.key", ("cert", "tls.key")),
    ],
)
def test_secrets_of_the_user_are_taken_by_name(name, path, wanted):
    made = render(ROWS[name])
    assert made.file(path) == wanted
    assert not made.all("Secret")


def test_the_migration_sees_what_the_server_sees():
    made = render(ROWS["all secrets"])
    migrate, server = made.pod["initContainers"][0], made.container
    for name in ("image", "envFrom", "volumeMounts", "securityContext"):
        assert migrate[name] == server[name]


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"SMTP_DOMAIN": "mx.example.com"}},
        {"http": {"token": {"value": "another"}}},
        {"store": {"type": "postgresql", "postgresql": {"url": f"{URL}?x"}}},
    ],
)
def test_what_is_read_at_the_start_replaces_the_pods(change):
    before = ROWS["all secrets"]
    assert annotations_of({**before, **change}) != annotations_of(before)


def test_users_are_read_again_without_a_restart():
    before = ROWS["all secrets"]
    after = copy.deepcopy(before)
    after["auth"]["users"] = "bob:hash\n"
    assert annotations_of(after) == annotations_of(before)
    assert render(after).all("Secret") != render(before).all("Secret")


# --- Services


def test_a_balancer_keeps_the_clients_address():
    service = render(ROWS["balancer"]).one("Service", "prixfixe")["spec"]
    assert (service["type"], service["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
    assert service["loadBalancerSourceRanges"] == ["192.0.2.0/24"]
    with_proxy = render(ROWS["balancer with PROXY"])
    assert with_proxy.one("Service", "prixfixe")["spec"]["externalTrafficPolicy"] == "Cluster"
    assert with_proxy.environ["SMTP_PROXY_PROTOCOL"] == "10.0.0.0/8,fd00::/8"


def test_http_stays_in_the_cluster(made):
    assert made.one("Service", "-http")["spec"]["type"] == "ClusterIP"


def test_the_ports_of_mail_are_25_and_465():
    ports = render(ROWS["tls"]).one("Service", "prixfixe")["spec"]["ports"]
    assert [(one["port"], one["targetPort"]) for one in ports] == [(25, "smtp"), (465, "smtps")]


def test_helm_test_speaks_through_the_services():
    made = render({})
    smtp, http = (made.one("Service", suffix) for suffix in ("prixfixe", "-http"))
    test = made.one("Pod", "-test")
    names = [one["metadata"]["name"] for one in (smtp, http)]
    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"
    words = test["spec"]["containers"][0]["args"]
    assert words[0] == "check"
    assert f"--smtp={names[0]}:25" in words
    assert f"--http=http://{names[1]}:8025" in words
    assert not render(ROWS["balancer with PROXY"]).all("Pod")  # its greeting never came


# --- notes


def notes(values):
    done = attempt(values, "install", "--dry-run=client")
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:\n")[2]


def test_notes_warn_of_what_is_open():
    assert "the API has no token" in notes({})
    assert "the API has no token" not in notes(ROWS["token"])
    assert "statefulset/mail-prixfixe" in notes({})
    assert "deployment/mail-prixfixe" in notes(ROWS["memory"])
    assert "loses all mail" in notes(ROWS["memory"])
    assert "PersistentVolumeClaim mail-mail-prixfixe-0" in notes({})
    assert URL not in notes(ROWS["all secrets"])
    assert "s3cret" not in notes(ROWS["all secrets"])


# --- refusals


@pytest.mark.parametrize("why", REFUSED)
def test_contradictions_are_refused(why):
    values, word = REFUSED[why]
    done = attempt(values)
    assert done.returncode != 0
    assert "don't meet the specifications of the schema" in done.stderr
    assert word in done.stderr


def test_every_rule_has_a_row_that_breaks_it():
    assert set(chart.RULES) <= set(REFUSED)


@pytest.mark.parametrize("rule", chart.RULES)
def test_no_rule_stands_in_for_another(rule):
    """Without the rule its row passes: nothing else refused it."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(chart.schema())
    schema["allOf"] = [one for one in schema["allOf"] if one["$comment"] != rule]
    values = merged(yaml.safe_load((CHART / "values.yaml").read_text()), REFUSED[rule][0])
    jsonschema.validate(values, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, json.loads(chart.schema()))


def merged(defaults, values):
    """Return values over defaults, as Helm lays them."""
    if not isinstance(defaults, dict) or not isinstance(values, dict):
        return values
    return {**defaults, **{name: merged(defaults.get(name), one) for name, one in values.items()}}


# --- the settings table


def test_a_setting_is_given_in_one_way():
    properties = json.loads(chart.schema())["properties"]["settings"]["properties"]
    assert set(properties) == {one.env for one in TABLE} - set(chart.MANAGED)
    assert not [one.env for one in TABLE if one.is_secret and one.env not in chart.MANAGED]


@pytest.mark.parametrize("name", sorted(set(chart.MANAGED) - {"SMTP_BIND", "SMTP_HTTP_BIND"}))
def test_what_the_chart_sets_is_in_a_template(name):
    assert f"{name}:" in template() or f"{name}_FILE:" in template()


def test_templates_set_nothing_else():
    named = set(re.findall(r"^(SMTP_\w+):", template(), re.MULTILINE))
    assert {one.removesuffix("_FILE") for one in named} <= set(chart.MANAGED)


def template():
    return (CHART / "templates" / "_helpers.tpl").read_text()


def test_schema_and_values_have_the_same_names():
    schema = json.loads(chart.schema())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    del schema["properties"]["global"]
    assert names(schema) == keys(values)


def names(schema, path=""):
    if schema.get("additionalProperties") is not False or path == "/settings":
        return {path}
    return set().union(*(names(one, f"{path}/{key}") for key, one in schema["properties"].items()))


def keys(values, path=""):
    if not isinstance(values, dict) or not values or path == "/resources":
        return {path}
    return set().union(*(keys(one, f"{path}/{key}") for key, one in values.items()))


def test_the_chart_installs_this_version():
    facts = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert facts["appVersion"] == __version__.partition(".dev")[0]


# --- the judge of Pod Security sees what it should

GOOD = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "c",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ],
}


def test_a_restricted_pod_breaks_nothing():
    assert violations(GOOD) == []


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("hostNetwork", True, "hostNetwork"),
        ("volumes", [{"name": "v", "hostPath": {"path": "/"}}], "volume v"),
        ("securityContext.runAsNonRoot", None, "c: runAsNonRoot"),
        ("securityContext.seccompProfile", {}, "c: seccompProfile"),
        ("containers.securityContext.privileged", True, "c: privileged"),
        ("containers.securityContext.allowPrivilegeEscalation", True, "c: allowPrivilege"),
        ("containers.securityContext.runAsUser", 0, "c: runAsUser"),
        ("containers.securityContext.capabilities", {"drop": []}, "c: capabilities.drop"),
        (
            "containers.securityContext.capabilities",
            {"drop": ["ALL"], "add": ["SYS_ADMIN"]},
            "c: capabilities.add",
        ),
        ("containers.ports", [{"hostPort": 25}], "c: hostPort"),
    ],
)
def test_a_pod_that_may_too_much_is_named(path, value, named):
    pod = copy.deepcopy(GOOD)
    *folders, name = path.split(".")
    place = pod
    for one in folders:
        place = place[one][0] if one == "containers" else place[one]
    place[name] = value
    assert named in str(violations(pod))


def test_tls_takes_the_folder_that_the_kubelet_renews():
    volume = next(one for one in render({"tls": TLS}).pod["volumes"] if one["name"] == "tls")
    assert volume["secret"]["secretName"] == "cert"
    assert [one["path"] for one in volume["secret"]["items"]] == ["tls.crt", "tls.key"]
