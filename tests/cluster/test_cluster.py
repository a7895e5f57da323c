"""Mail read across servers; any one container killed; standbys gone; a cluster that is not safe."""

import pytest

from tests.cluster.post import Post, Watch, is_refused
from tests.cluster.project import ETCD, HTTP, HTTP_OF, SERVERS, SMTP, SMTP_OF
from tests.container.once import once
from tests.container.waiting import eventually
from tests.durability.client import Client
from tests.durability.ledger import Ledger

pytestmark = pytest.mark.timeout(900)  # Patroni waits 20 s for a primary, and machines are busy


def send(project, port, ledger=None):
    with Client(project.port(port), ledger or Ledger()) as client:
        assert client.send() == 250
        return client.ledger.sent[-1]


# --- everything runs


def test_mail_sent_to_one_server_is_shown_by_all(cluster):
    sent = {send(cluster, port).id for port in (SMTP, *SMTP_OF.values())}
    assert [set(cluster.shown(server)) for server in SERVERS] == [sent] * 3


def test_a_server_waits_for_and_finds_what_another_one_took(cluster):
    ledger = Ledger()
    for server, other in zip(SERVERS, (*SERVERS[1:], SERVERS[0]), strict=True):
        sent = send(cluster, SMTP_OF[server], ledger)
        for path in (
            f"wait?to={sent.recipients[0]}&timeout=30",
            f"search?query=to:{sent.recipients[0]}",
        ):
            answer = cluster.http(f"/api/v1/{path}", HTTP_OF[other])
            assert answer.status == 200, answer
            assert [one["ID"] for one in answer.json["messages"]] == [sent.id]


def test_the_page_is_there_and_the_client_is_the_balancers(cluster):
    answer = cluster.http("/", HTTP)
    assert (answer.status, answer.headers["content-type"][:9]) == (200, "text/html")
    sent = send(cluster, SMTP)
    facts = cluster.http(f"/api/v1/message/{sent.id}/envelope").json
    networks = cluster.container("balancer").attrs["NetworkSettings"]["Networks"]
    gateway = networks[f"{cluster.name}_outside"]["Gateway"]  # where a published port comes from
    assert facts["Peer"].rpartition(":")[0] == gateway


def test_only_the_balancer_is_published_and_only_on_the_loopback(cluster):
    for service in (*SERVERS, "postgres1", "postgres2", "postgres3", *ETCD):
        found = cluster.container(service)
        assert not any(found.ports.values())
        assert f"{cluster.name}_outside" not in found.attrs["NetworkSettings"]["Networks"]
    published = cluster.container("balancer").ports.values()
    assert {one["HostIp"] for each in published for one in each or ()} == {"127.0.0.1"}


# --- one container is killed


@pytest.mark.parametrize("victim", [*SERVERS, *ETCD, "first standby", "second standby"])
def test_without_any_one_container_mail_goes_on(cluster, victim, report):
    if victim.endswith("standby"):
        victim = cluster.standbys()[victim.startswith("second")]
    with Post(cluster) as post:
        post.flows()
        cluster.kill(victim)
        post.flows()
        if victim in SERVERS:
            assert not cluster.is_ready(victim)
        cluster.start(victim)
        cluster.wait_until_whole()
        post.flows()
    report(post)
    assert post.problems(SERVERS[0]) == []


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_a_lost_primary_is_replaced(cluster, fault, report):
    old = cluster.primary()
    with Post(cluster) as post, Watch(cluster) as watch:
        post.flows()
        getattr(cluster.container(old), fault)()
        eventually(lambda: watch.fell == set(SERVERS), 120.0, "readiness falls")
        post.flows()
        assert cluster.primary() != old
        {"kill": cluster.start}.get(fault, lambda one: cluster.container(one).unpause())(old)
        cluster.wait_until_whole()
        post.flows()
    report(post)
    assert post.problems(SERVERS[1]) == []


def test_without_the_balancer_nothing_comes_in_and_nothing_is_lost(cluster, report):
    with Post(cluster) as post:
        post.flows()
        cluster.kill("balancer")
        healthy = [cluster.is_healthy(server) for server in SERVERS]
        cluster.start("balancer")
        cluster.wait_until_whole()
        post.flows()
    assert healthy == [True] * 3
    report(post)
    assert post.problems(SERVERS[2]) == []


# --- no standby is left, or none counts


def test_without_standbys_nothing_is_acknowledged(cluster, report):
    standbys = cluster.standbys()
    with Post(cluster) as post, Watch(cluster) as watch:
        post.flows()
        for each in standbys:
            cluster.kill(each)
        eventually(lambda: watch.fell == set(SERVERS), 120.0, "readiness falls")
        kept = len(post.ledger.kept)
        assert [is_refused(cluster, port) for port in SMTP_OF.values()] == [True] * 3
        assert len(post.ledger.kept) == kept
        cluster.start(standbys[0])
        post.flows()
        cluster.start(standbys[1])
        cluster.wait_until_whole()
    report(post)
    assert post.problems(SERVERS[0]) == []


def test_a_cluster_that_waits_for_no_standby_is_refused(cluster, image):
    """What Patroni does without `synchronous_mode`: not ready, no mail, and no server starts."""
    settings = cluster.container("smtp1").attrs["Config"]["Env"]

    def told():
        """How one more server ends; without a database that answers it says something else."""
        ended = once(
            image,
            "serve",
            environ=dict(one.split("=", 1) for one in settings),
            network_mode=f"{cluster.name}_database",
            seconds=60.0,
        )
        return ended.code == 3 and "set it to 'ANY 1 (NAME, …)'" in ended.err

    try:
        cluster.set("synchronous_mode=off")
        with Watch(cluster) as watch:
            eventually(lambda: watch.fell == set(SERVERS), 120.0, "readiness falls")
        assert [is_refused(cluster, port) for port in SMTP_OF.values()] == [True] * 3
        eventually(told, 120.0, "exit 3 with the remedy")
    finally:
        cluster.set("synchronous_mode=quorum")
    cluster.wait_until_whole()
    send(cluster, SMTP)
