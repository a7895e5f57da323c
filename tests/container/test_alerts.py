"""Alerts that were seen to fire: Debian's Prometheus, real servers, each fault made for real.

`nox -s container -- tests/container/test_alerts.py --alerts` runs it, in two to four minutes. `for` and
ranges are shorter by one factor; expressions and thresholds are those that are shipped. What an
alert says of made-up series is tested by promtool (deployment/prometheus/alerts_test.yml).
"""

import contextlib
import datetime as dt
import threading

import pytest
import yaml

from prixfixe.verify.dialogue.wire import ClosedError, Wire
from tests.container.deployed import taken_port
from tests.container.health_states import FILL
from tests.container.profile import mail_on_tmpfs
from tests.container.prometheus import SHIPPED, faster, scraping
from tests.container.talk import body_of, envelope, stuffed
from tests.container.test_tls import Secrets
from tests.container.troubled import TROUBLES
from tests.container.waiting import eventually
from tests.durability import strace
from tests.integration.test_clients import needs
from tests.support import pg_cluster

FACTOR = 30
GUESSERS = 6  # more than a hundred guesses in what is left of ten minutes
SETTINGS = {
    "SMTP_MAX_CONNECTIONS": "10",
    "SMTP_TLS_CERT": "/run/secrets/cert.pem",
    "SMTP_TLS_KEY": "/run/secrets/key.pem",
    "SMTP_AUTH": "optional",
    "SMTP_AUTH_USERS": "/run/secrets/users",
    "SMTP_AUTH_INSECURE": "true",
    "SMTP_AUTH_MAX_FAILURES": "3",
}
EXPECTED = {
    ("PrixFixeDown", "away"),
    ("PrixFixeNotReady", "full"),
    ("PrixFixeStoreErrors", "full"),
    ("PrixFixeDeferring", "full"),
    ("PrixFixeStoreFillingUp", "full"),
    ("PrixFixeCertificateExpiring", "main"),
    ("PrixFixeCertificateExpiresNow", "main"),
    ("PrixFixeReloadFailed", "main"),
    ("PrixFixeErrorsLogged", "main"),
    ("PrixFixeConnectionsNearLimit", "main"),
    ("PrixFixeAuthFailures", "guessed"),
}
# Of servers that are processes; see `troubled`.
EXPECTED_OF_PROCESSES = {
    ("PrixFixeAckSlow", "slow"),
    ("PrixFixeLoopStalled", "starved"),
    ("PrixFixeNoMail", "behind"),
    ("PrixFixeRestartLoop", "restarting"),
    ("PrixFixeQuarantinedOnRecovery", "damaged"),
    ("PrixFixeMetricsDefect", "defective"),
    ("PrixFixeStandbyMissing", "alone"),
    ("PrixFixeMailLost", "alone"),
}


class Repeated:
    """Something that is done again and again in a thread until the end."""

    def __init__(self, *steps):
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._go, args=(one,)) for one in steps]

    def __enter__(self):
        for one in self._threads:
            one.start()

    def __exit__(self, *_):
        self._is_over.set()
        for one in self._threads:
            one.join(60)

    def _go(self, step):
        while not self._is_over.is_set():
            with contextlib.suppress(AssertionError, OSError, ClosedError):
                step()


def send(box):
    """Send a message that the store has no room for."""
    with box.hello() as wire:
        envelope(wire)
        wire.send(stuffed(body_of(100_000)))
        wire.reply()


def guess(address):
    with Wire(address) as wire:
        wire.reply()
        wire.ask(b"EHLO client.test\r\n")
        for _ in range(3):
            wire.ask(b"AUTH PLAIN AGFsaWNlAHdyb25n\r\n")


def test_only_for_and_ranges_are_scaled():
    shipped = (SHIPPED / "alerts.yml").read_text()
    assert "[5m]" in shipped
    scaled = faster(shipped, FACTOR)
    assert "[5m]" not in scaled
    assert "> 14 * 86400" in scaled or "< 14 * 86400" in scaled
    names = {one["alert"] for one in yaml.safe_load(scaled)["groups"][0]["rules"]}
    assert names == {name for name, _ in EXPECTED | EXPECTED_OF_PROCESSES}


@needs("prometheus")
@pytest.mark.timeout(600)
def test_alerts_fire(request, start, tmp_path):
    if not request.config.getoption("--alerts"):
        pytest.skip("it takes minutes: --alerts")
    secrets = Secrets(tmp_path)
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
    secrets.issue(not_before=soon - dt.timedelta(days=9), not_after=soon)
    options = {"volumes": secrets.options["volumes"]}
    main = start(SETTINGS, **options)
    guessed = start(SETTINGS, **options)
    full = start({"SMTP_STORE_MIN_FREE": "5MiB"}, **mail_on_tmpfs("6m"))
    for box in (main, guessed, full):
        box.is_trouble_expected = True
    with taken_port() as port, contextlib.ExitStack() as stack:
        addresses = {"main": main, "guessed": guessed, "full": full}
        targets = {name: "{}:{}".format(*box.address(8025)) for name, box in addresses.items()}
        targets["away"] = f"127.0.0.1:{port}"
        prometheus = stack.enter_context(scraping(tmp_path, targets, factor=FACTOR))
        eventually(lambda: prometheus.value('up{job="prixfixe"}') == 3, what="three scraped")
        for _ in range(9):
            stack.enter_context(main.hello())
        full.python(FILL)
        secrets.put("key.pem", b"no key\n")  # and the pair that is in use stays
        address, seen = guessed.address(), set()
        steps = (lambda: send(full), *[lambda: guess(address)] * GUESSERS)
        with Repeated(*steps), contextlib.suppress(AssertionError):  # told below, by name
            eventually(lambda: not missing(EXPECTED, prometheus, seen), 200, pause=0.5)
    assert EXPECTED - seen == set()


def missing(expected, prometheus, seen):
    """Note what fires now: not everything fires at the same time."""
    seen |= prometheus.firing()
    return expected - seen


@needs("prometheus")
@needs("faketime")
@pytest.mark.timeout(600)
def test_alerts_of_slow_broken_and_deserted_servers_fire(request, tmp_path):
    if not request.config.getoption("--alerts"):
        pytest.skip("it takes minutes: --alerts")
    if why := strace.why_not():
        pytest.skip(why)
    pg_cluster.require_binaries()
    seen, was_seen = set(), threading.Event()
    with contextlib.ExitStack() as stack:
        targets = {
            name: stack.enter_context(trouble(tmp_path / name, was_seen))
            for name, trouble in TROUBLES.items()
        }
        scraper = scraping(tmp_path, targets, factor=FACTOR, expecting="behind")
        prometheus = stack.enter_context(scraper)
        both = "two standbys"
        eventually(lambda: prometheus.value("prixfixe_store_standbys") == 2, 60, both)
        was_seen.set()
        with contextlib.suppress(AssertionError):  # told below, by name
            eventually(lambda: not missing(EXPECTED_OF_PROCESSES, prometheus, seen), 200, pause=0.5)
    assert EXPECTED_OF_PROCESSES - seen == set()
