"""Health tells the truth: the verdicts of `states`, and what asking for them costs.

The engine judges with the image's own HEALTHCHECK, only more often, and one failure is enough.
"""

import http.client
from datetime import UTC, datetime

import pytest

from tests.container.box import moment
from tests.container.health_states import STATES
from tests.container.talk import body_of, deliver
from tests.container.waiting import eventually

PROBES = 3  # good ones in a row show that a state is healthy
OWN_SECONDS = 3  # one that fails later than this ran out of time, as it does where a machine stops


def asked(box, path, wanted):
    """Return the status of an answer, None when there is none in time."""
    try:
        return box.http(path, seconds=2 if wanted is None else 30).status
    except (OSError, http.client.HTTPException):
        return None


def stays_healthy(box, since):
    """Whether enough checks that began after a moment were made and all were good."""
    probes = [probe for probe in box.health["Log"] if probe["Start"] > since]
    assert not [one for one in probes if one["ExitCode"] and took(one) < OWN_SECONDS], box.health
    return [one["ExitCode"] for one in probes[-PROBES:]] == [0] * PROBES


def turns_unhealthy(box, since):
    """Whether the engine says so; a good check that began since then will not become a bad one."""
    health = box.health
    begun = [probe for probe in health["Log"] if moment(probe["Start"]) > since]
    assert not [probe for probe in begun if not probe["ExitCode"]], health
    return health["Status"] == "unhealthy"


def took(probe):
    return (moment(probe["End"]) - moment(probe["Start"])).total_seconds()


@pytest.mark.parametrize("name", STATES)
def test_the_verdicts_are_true(start, name):
    state = STATES[name]
    box = start(state.environ, probe=0.2, **state.options)
    box.await_health("healthy")
    with state.arrange(box):
        since = box.health["Log"][-1]["End"]
        assert asked(box, "/livez", state.livez) == state.livez
        # A good verdict of the store is repeated for five seconds unless a message failed.
        eventually(
            lambda: asked(box, "/readyz", state.readyz) == state.readyz,
            what=f"readyz {state.readyz}",
        )
        if state.is_healthy:
            assert eventually(lambda: stays_healthy(box, since))
        else:
            since = datetime.now(UTC)
            assert eventually(lambda: turns_unhealthy(box, since), 40.0)
            assert box.health["FailingStreak"]  # a check failed; the engine did not only guess
            assert box.health["Log"][-1]["ExitCode"]
    if state.is_cured:
        box.await_health("healthy")


def test_an_unhealthy_verdict_says_why(start):
    """The engine keeps the probe's one line: what an operator reads first."""
    state = STATES["volume full"]
    box = start(state.environ, probe=0.2, **state.options)
    box.await_health("healthy")
    with state.arrange(box):
        box.await_health("unhealthy")
        assert box.health["Log"][-1]["Output"] == "prixfixe: not ready: store: no room\n"


def test_a_started_server_is_not_unhealthy_while_it_starts(start):
    """The start period: whatever the first checks find, the container is starting or healthy."""
    box = start(probe=0.05, is_awaited=False)
    seen = set()

    def is_healthy():
        seen.add(box.health["Status"])
        return "healthy" in seen

    eventually(is_healthy)
    assert seen <= {"starting", "healthy"}


COUNT = """
import os
print(len(os.listdir("/proc/1/fd")), len(os.listdir("/proc/1/task")))
"""
PROBE = """
import sys
from prixfixe.cli.main import main
print(sum(main(["check", "--timeout", "30"]) for _ in range(200)))
"""


def test_200_probes_leave_no_trace(start):
    """No mail, no log record, no slot, no descriptor, no thread, no process."""
    box = start({"SMTP_MAX_CONNECTIONS": "2"})
    assert box.check().code == 0
    before, written = box.python(COUNT), box.logs()
    assert box.python(PROBE).strip() == "0"
    assert eventually(lambda: box.python(COUNT) == before, what="as few descriptors as before")
    assert box.logs() == written
    assert box.messages() == []
    with box.hello() as first, box.hello():  # both slots are free
        deliver(first, body_of(100))
    assert len(box.container.top()["Processes"]) == 1  # nor a zombie
