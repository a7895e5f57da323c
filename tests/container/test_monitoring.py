"""Monitored: Prometheus scrapes two containers while load runs, and each series moves as it should.

One server has much to do, well and badly; the disk of the other is full. `moves` says what that must
have done to each metric.
"""

import contextlib
import datetime as dt

import pytest
import yaml

from tests.container.health_states import FILL
from tests.container.moves import (
    CLIENTS,
    EACH,
    KILLED,
    KINDS,
    LARGE,
    MOVES,
    REFUSED,
    RESTS,
    SWINGS,
    unmoved,
)
from tests.container.profile import mail_on_tmpfs
from tests.container.prometheus import SHIPPED, scraping
from tests.container.talk import Crowd, body_of, deliver, envelope
from tests.container.test_tls import NEW, Secrets, logged_in, plain, secured
from tests.container.waiting import eventually
from tests.integration.test_clients import needs

SETTINGS = {
    "SMTP_TLS_CERT": "/run/secrets/cert.pem",
    "SMTP_TLS_KEY": "/run/secrets/key.pem",
    "SMTP_TLS_PORT": "2465",
    "SMTP_AUTH": "optional",
    "SMTP_AUTH_USERS": "/run/secrets/users",
    "SMTP_MAX_CONNECTIONS": "40",
    "SMTP_MAX_MESSAGE_SIZE": "300000",
    "SMTP_MAX_INFLIGHT": "400000",
    "SMTP_MAX_RECIPIENTS": "3",
    "SMTP_STORE_MAX_MESSAGES": "100",
    "SMTP_SHUTDOWN_TIMEOUT": "60",  # Prometheus has to see it drain
}


def test_every_metric_moves_or_has_a_reason_to_rest():
    moved = {row[0] for row in MOVES + SWINGS}
    assert not moved & RESTS.keys()
    assert moved | RESTS.keys() == KINDS.keys()
    assert {KINDS[row[0]] for row in MOVES} == {"counter", "histogram"}
    assert {KINDS[row[0]] for row in SWINGS} == {"gauge"}


# --- the load


def behave(box, trust):
    """Send as one should, on both listeners."""
    with (
        Crowd(box.hello, CLIENTS, each=EACH) as plainly,
        Crowd(lambda: logged_in(box, trust, is_implicit=True), CLIENTS, each=EACH) as secretly,
    ):
        for crowd in (plainly, secretly):
            crowd.join()
            assert (crowd.errors, crowd.ledger.refused, crowd.ledger.unanswered) == ([], [], [])


def misbehave(box, trust):
    """Send what is refused, each kind once."""
    with box.hello() as wire:
        assert wire.ask(b"VRFY someone\r\nNONSENSE\r\n", 2) == [252, 500]
        recipients = b"".join(b"RCPT TO:<%d@y.test>\r\n" % n for n in range(4))
        assert wire.ask(b"MAIL FROM:<a@x.test>\r\n" + recipients, 5) == [250, 250, 250, 250, 452]
        assert wire.ask(b"RSET\r\n") == [250]
        envelope(wire)
        assert wire.ask(b"a lone\nline feed\r\n.\r\n") == [550]
        envelope(wire)
        assert wire.ask(body_of(400_000) + b".\r\n") == [552]
        assert wire.ask(b"QUIT\r\n") == [221]
    with box.hello() as wire:
        envelope(wire)
        wire.send(b"Subject: half\r\n")
        wire.reset()
    with secured(box, trust) as wire:
        assert wire.ask(plain("wrong")) + wire.ask(plain("worse")) == [535, 535]
    with box.connect(2465) as wire:
        wire.send(b"EHLO this is no handshake\r\n")
        wire.rest()
    assert box.check().code == 0


@contextlib.contextmanager
def in_data(box, octets):
    """Have a message under way, all of it but its end."""
    with box.hello() as wire:
        envelope(wire)
        wire.send(body_of(octets))
        yield wire


def hold(box, prometheus):
    """Have one large message in memory, and another that waits for its room."""
    with in_data(box, LARGE) as first, in_data(box, LARGE) as second:
        for name in ("inflight_waiting", "inflight_bytes"):
            eventually(lambda name=name: prometheus.value(f"prixfixe_{name}") > 0, what=name)
        assert first.ask(b".\r\n") == [250]
        assert second.ask(b".\r\n") == [250]


def rotate(secrets, prometheus):
    """Put a pair in place that is none, then a good one; and other users."""
    is_ready = 'prixfixe_ready{instance="main",check="tls"}'
    secrets.put("cert.pem", b"no certificate\n")
    eventually(lambda: prometheus.value(is_ready) == 0, what="not ready")
    secrets.issue(not_after=dt.datetime.now(dt.UTC) + dt.timedelta(days=30))
    secrets.allow(NEW)
    eventually(lambda: prometheus.value(is_ready) == 1, what="ready again")
    reloads = 'prixfixe_auth_reloads_total{result="ok"}'
    eventually(lambda: prometheus.value(reloads) == 1, what="the new users")


def overfill(box, prometheus):
    """Fill the disk, and send where nothing can be kept."""
    free = 'prixfixe_store_free_bytes{instance="full"}'
    eventually(lambda: prometheus.value(free) > 1_000_000, what="a disk with room")
    box.python(FILL)
    for _ in range(REFUSED):
        with box.hello() as wire:
            envelope(wire)
            assert wire.ask(body_of(20_000) + b".\r\n") == [452]


def drain(box, prometheus):
    """Stop it while a message is under way, which is finished and kept."""
    with in_data(box, 100) as wire:
        box.signal("SIGTERM")
        eventually(lambda: prometheus.value("prixfixe_draining") == 1, what="draining")
        assert wire.ask(b".\r\n") == [250]
    assert box.exit_code() == 0


def started(start, volume, secrets):
    """A server with TLS and users, on the volume of one that was killed."""
    options = {"volume": volume, "mem_limit": "128m", **secrets.options}
    killed = start(SETTINGS, **options)
    with killed.hello() as wire:
        for _ in range(KILLED):
            deliver(wire, body_of(100))
    killed.signal("SIGKILL")
    killed.exit_code()
    return start(SETTINGS, **options)


@needs("prometheus")
@pytest.mark.timeout(300)
def test_each_series_moves_as_it_should(start, volume, tmp_path):
    secrets = Secrets(tmp_path)
    main = started(start, volume, secrets)
    full = start({"SMTP_STORE_MIN_FREE": "0"}, **mail_on_tmpfs("6m"))
    main.is_trouble_expected = full.is_trouble_expected = True
    targets = {
        name: "{}:{}".format(*box.address(8025)) for name, box in (("main", main), ("full", full))
    }
    with scraping(tmp_path, targets) as prometheus:
        eventually(lambda: prometheus.value('up{job="prixfixe"}') == 2, what="both scraped")
        behave(main, secrets.trust)
        misbehave(main, secrets.trust)
        hold(main, prometheus)
        overfill(full, prometheus)
        rotate(secrets, prometheus)
        drain(main, prometheus)
        with contextlib.suppress(AssertionError):  # told below, with what they came to
            eventually(lambda: not unmoved(prometheus), 30, pause=0.3)
        assert unmoved(prometheus) == ""
        rules = prometheus.rules()
    shipped = yaml.safe_load((SHIPPED / "alerts.yml").read_text())["groups"]
    assert {rule["name"] for rule in rules} == {
        rule["alert"] for group in shipped for rule in group["rules"]
    }
    assert {rule["health"] for rule in rules} == {"ok"}
    firing = {rule["name"] for rule in rules if rule["state"] != "inactive"}
    assert {"PrixFixeReloadFailed", "PrixFixeErrorsLogged"} <= firing
