import asyncio
import shutil
import subprocess
import threading

import pytest

from prixfixe.mail.message import Envelope, IdSource, Message, Recipient
from prixfixe.stores.base import Probe, Recovery, StoreError, StoreOpenError, StoreOptions, Totals
from prixfixe.stores.group_commit import GroupLimits, GroupStore
from prixfixe.telemetry.metrics import Metrics
from prixfixe.telemetry.metrics_table import TABLE
from prixfixe.testing.store_contract import make
from tests.conftest import PATIENCE


@pytest.fixture
def metrics():
    return Metrics(version="1", revision="abc", store="sqlite:x", max_connections=7)


def page(metrics, accept=None):
    return metrics.exposition(accept)[0].decode()


def test_every_series_is_there_from_the_start(metrics):
    text = page(metrics)
    for spec in TABLE:
        assert f"# TYPE prixfixe_{spec.name}" in text, spec.name
    assert 'prixfixe_messages_total{listener="smtp",reason="none",result="accepted"} 0.0' in text
    assert "_created" not in text


def test_commands_are_counted_by_class_and_replies_by_code(metrics):
    metrics.replies["MAIL"][250] += 1
    metrics.replies["MAIL"][452] += 1
    metrics.replies["NONSENSE"][500] += 1
    metrics.replies["MAIL"][299] += 1
    text = page(metrics)
    assert 'prixfixe_smtp_commands_total{class="2xx",verb="MAIL"} 1.0' in text
    assert 'prixfixe_smtp_commands_total{class="5xx",verb="OTHER"} 1.0' in text
    assert 'prixfixe_smtp_replies_total{code="452"} 1.0' in text
    assert 'prixfixe_smtp_replies_total{code="other"} 1.0' in text


def test_an_accepted_message_is_in_every_series_that_speaks_of_it(metrics):
    envelope = Envelope("a@x.test", (Recipient("b@y.test"),) * 3)
    metrics.accepted("smtp", Message("ID1", 5.0, envelope, bytes(2000)), 0.01, 0.002)
    text = page(metrics)
    for line in (
        'prixfixe_messages_total{listener="smtp",reason="none",result="accepted"} 1.0',
        'prixfixe_message_size_bytes_bucket{le="1024.0"} 0.0',
        'prixfixe_message_size_bytes_bucket{le="4096.0"} 1.0',
        "prixfixe_message_recipients_sum 3.0",
        'prixfixe_message_ack_duration_seconds_bucket{le="0.0025"} 1.0',
        "prixfixe_message_receive_duration_seconds_count 1.0",
    ):
        assert line in text


def test_all_other_counts(metrics):
    metrics.connection("smtp", "over_limit")
    metrics.connection_opened("smtp")
    metrics.session_ended("quit", 0.1)
    metrics.message("smtp", "deferred", "store_full")
    metrics.store_operation("commit", 0.01, "full")
    metrics.store_error("full")
    metrics.recovered(Recovery(complete=2))
    metrics.pruned(5)
    metrics.tls_handshake("starttls", "TLSv1.3", "ok")
    metrics.reload("tls", "ok")
    metrics.reload("auth", "error")
    metrics.store_retry("conflict")
    metrics.store_operation("undo", 0.01, "ok")
    metrics.auth_attempt("CRAM", "rejected")
    metrics.loop_lag(0.2)
    metrics.log_record("error")
    metrics.ready["store"] = True
    metrics.totals = Totals(3, 99)
    metrics.space = Probe(1000, 10)
    text = page(metrics)
    for line in (
        'prixfixe_smtp_connections_total{listener="smtp",result="over_limit"} 1.0',
        'prixfixe_smtp_connections_active{listener="smtp"} 1.0',
        "prixfixe_smtp_connections_limit 7.0",
        'prixfixe_smtp_session_duration_seconds_count{end="quit"} 1.0',
        'prixfixe_messages_total{listener="smtp",reason="store_full",result="deferred"} 1.0',
        'prixfixe_store_errors_total{backend="sqlite",kind="full"} 1.0',
        'prixfixe_store_recovered_total{outcome="complete"} 2.0',
        'prixfixe_store_pruned_total{backend="sqlite"} 5.0',
        'prixfixe_tls_handshakes_total{mode="starttls",result="ok",version="TLSv1.3"} 1.0',
        'prixfixe_tls_reloads_total{result="ok"} 1.0',
        'prixfixe_auth_reloads_total{result="error"} 1.0',
        'prixfixe_store_retries_total{backend="sqlite",kind="conflict"} 1.0',
        'prixfixe_auth_attempts_total{mechanism="other",result="rejected"} 1.0',
        'prixfixe_event_loop_lag_seconds_bucket{le="0.1"} 0.0',
        'prixfixe_log_records_total{level="error"} 1.0',
        'prixfixe_ready{check="store"} 1.0',
        'prixfixe_store_messages{backend="sqlite"} 3.0',
        'prixfixe_store_free_bytes{backend="sqlite"} 1000.0',
        "prixfixe_metrics_defects_total 0.0",
    ):
        assert line in text, line


def test_what_is_unknown_is_left_out(metrics):
    text = page(metrics)
    for name in ("store_messages{", "store_free_bytes{", "not_after_timestamp_seconds 0", "ready{"):
        assert name not in text


def test_a_label_outside_the_table_is_a_defect_not_a_series(metrics):
    metrics.connection("smtp", "surprise")
    metrics.session_ended("surprise", 1)
    text = page(metrics)
    assert "surprise" not in text
    assert "prixfixe_metrics_defects_total 2.0" in text


def test_what_runs_is_told_once(metrics):
    lines = [line for line in page(metrics).splitlines() if line.startswith("prixfixe_build_info")]
    assert len(lines) == 1
    assert {'revision="abc"', 'store="sqlite"', 'version="1"'} <= set(
        lines[0].partition("{")[2].partition("}")[0].split(",")
    )


def test_scrapes_overlap_without_sharing_what_they_compute(metrics):
    first = metrics.series()
    metrics.connection_opened("smtp")
    second = metrics.series()
    assert first["smtp_connections_active"].counts["smtp",] == 0
    assert second["smtp_connections_active"].counts["smtp",] == 1


def test_openmetrics_when_asked_for(metrics):
    body, kind = metrics.exposition("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_finds_nothing(metrics):
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=page(metrics), text=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, "")


class Slow:
    """A backend that holds its first commit until told, and refuses groups."""

    def __init__(self, kind):
        self.kind = kind
        self.has_first, self.may_go = threading.Event(), threading.Event()

    def open(self):
        return Recovery()

    def commit(self, messages):
        self.has_first.set()
        self.may_go.wait(PATIENCE)
        if len(messages) > 1:
            raise StoreError("not together", kind=self.kind)

    def settle(self):
        return False

    def close(self):
        pass


async def resolved(kind, **hooks):
    """Put one message, then two that wait together; return what became of them."""
    backend = Slow(kind)
    store = GroupStore(backend, GroupLimits(10, 1 << 20), StoreOptions(**hooks))
    await store.open()
    ids = IdSource()
    first = store.put(make(ids))
    await asyncio.to_thread(backend.has_first.wait, PATIENCE)
    puts = [first, store.put(make(ids)), store.put(make(ids))]
    backend.may_go.set()
    results = await asyncio.gather(*puts, return_exceptions=True)
    await store.close()
    return [getattr(each, "kind", None) for each in results]


async def test_a_group_tried_again_message_by_message_is_counted():
    retries = []
    assert await resolved("conflict", on_retry=retries.append) == [None, None, None]
    assert await resolved("full", on_retry=retries.append) == [None, "full", "full"]
    assert retries == ["conflict"]


async def test_an_open_that_fails_is_an_error_of_the_store():
    class Closed(Slow):
        def open(self):
            raise StoreOpenError("no")

    seen = []
    options = StoreOptions(on_operation=lambda op, seconds, result: seen.append((op, result)))
    with pytest.raises(StoreOpenError):
        await GroupStore(Closed(""), GroupLimits(1, 1), options).open()
    assert seen[0] == ("open", "io")
