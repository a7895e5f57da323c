"""docker-compose.cluster.yml and its files, as far as they need no engine."""

import re

import pytest
import yaml

from tests.support.script_runner import ROOT
from tests.unit.test_compose import composed

FILE = ROOT / "docker-compose.cluster.yml"
PATRONI = yaml.safe_load((ROOT / "deployment/cluster/patroni.yml").read_text())
BALANCER = (ROOT / "deployment/cluster/haproxy.cfg").read_text()
SERVERS = {f"smtp{number}" for number in (1, 2, 3)}
NODES = {f"postgres{number}" for number in (1, 2, 3)}
ETCD = {f"etcd{number}" for number in (1, 2, 3)}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return composed(tmp_path_factory.mktemp("project"), file=FILE)


def test_all_but_the_balancer_are_on_networks_that_lead_nowhere(project):
    assert set(project["services"]) == {*SERVERS, *NODES, *ETCD, "balancer", "migrate"}
    closed = {name for name, one in project["networks"].items() if one.get("internal")}
    assert closed == {"front", "database"}
    for name, service in project["services"].items():
        assert not {"network_mode", "extra_hosts"} & service.keys()
        if name != "balancer":
            assert set(service["networks"]) <= closed
            assert "ports" not in service
    assert {"outside", "front"} == set(project["services"]["balancer"]["networks"])


def test_what_is_published_is_on_the_loopback(project):
    ports = project["services"]["balancer"]["ports"]
    assert {one["host_ip"] for one in ports} == {"127.0.0.1"}
    assert {int(one["published"]) for one in ports} == set(
        map(int, re.findall(r"^    bind :(\d+)$", BALANCER, re.MULTILINE))
    )


def test_containers_have_no_rights_and_limited_means(project, tmp_path):
    deployed = composed(tmp_path)["services"]["smtp"]
    for name, service in project["services"].items():
        for key in ("read_only", "cap_drop", "security_opt", "logging", "pull_policy"):
            assert service[key] == deployed[key], (name, key)
        assert service["mem_limit"] == service["memswap_limit"], name
        assert service["pids_limit"] <= 128, name
    for name in SERVERS:
        assert project["services"][name]["image"] == deployed["image"]
        assert project["services"][name]["stop_grace_period"] == deployed["stop_grace_period"]


def test_an_image_is_built_once(project):
    built = [one["image"] for one in project["services"].values() if "build" in one]
    assert len(built) == len(set(built)) == 4
    assert {one["image"] for one in project["services"].values()} == set(built)


def test_patroni_keeps_the_promise_of_a_250(project):
    """What docs/cluster.md calls safe. `nox -s cluster` breaks it on a real cluster."""
    settings = PATRONI["bootstrap"]["dcs"]
    assert settings["synchronous_mode"] == "quorum"
    assert settings["synchronous_mode_strict"] is True
    quorum = project["services"]["smtp1"]["environment"].get("SMTP_STORE_QUORUM", 1)
    assert settings["synchronous_node_count"] >= int(quorum)
    assert settings["loop_wait"] + 2 * settings["retry_timeout"] <= settings["ttl"]
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        assert settings["postgresql"]["parameters"][name] == "on"


def test_the_document_shows_patronis_settings():
    [shown] = re.findall(
        r"```yaml\n(ttl:.*?)```", (ROOT / "docs/cluster.md").read_text(), re.DOTALL
    )
    settings = PATRONI["bootstrap"]["dcs"]
    told = yaml.safe_load(shown)
    assert told == {name: settings[name] for name in told}
    assert {"ttl", "synchronous_mode", "synchronous_mode_strict", "failsafe_mode"} <= told.keys()


def test_every_server_is_behind_the_balancer_with_its_address_in_a_header(project):
    for name in SERVERS:
        lines = re.findall(rf"^    server {name} {name}:2525 (.*)$", BALANCER, re.MULTILINE)
        assert len(lines) == 2
        assert all("send-proxy-v2" in one for one in lines)
        assert project["services"][name]["environment"]["SMTP_PROXY_PROTOCOL"]
        hosts = project["services"][name]["environment"]["SMTP_STORE"]
        assert hosts == "postgresql://prixfixe@postgres1,postgres2,postgres3/mail"
