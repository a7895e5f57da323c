"""Stopping, crashing, restarting and upgrading: nothing that was acknowledged is ever lost."""

import contextlib
import io
import random
import threading

import pytest

from prixfixe.verify.dialogue.wire import ClosedError, Wire
from tests.container import engine
from tests.container.box import PYTHON
from tests.container.health_states import FILL
from tests.container.once import as_root
from tests.container.profile import MAIL, mail_on_tmpfs
from tests.container.talk import Crowd, Ledger, body_of, deliver, envelope, stuffed
from tests.container.waiting import eventually

CLIENTS = 6


def at_mail(name, mode="rw"):
    return {"volumes": {str(name): {"bind": MAIL, "mode": mode}}}


# --- stopping

# The image's command as PID 1, with imports that never end.
IMPORTING = """
import signal
import sys

class Slow:
    def find_spec(self, name, *_):
        if name == "prixfixe.cli.main":
            print("importing", flush=True)
            signal.pause()

sys.meta_path.insert(0, Slow())
exec(open("/usr/local/bin/prixfixe").read())
"""


def test_a_stop_before_the_server_is_there_is_not_lost(start):
    """SIGTERM while PID 1 imports: exit 0, not the end of the grace and SIGKILL."""
    slow = {"entrypoint": [PYTHON, "-IBc"], "command": [IMPORTING, "serve"]}
    box = start(is_awaited=False, **slow)
    box.is_trouble_expected = True  # its line is no record
    assert eventually(lambda: "importing" in box.logs(), what="an import")
    assert box.stop() == 0


def test_a_message_under_way_is_finished_when_the_server_stops(start):
    """SIGTERM: idle clients are told, new ones find nobody, the message is kept, exit 0."""
    box = start({"SMTP_SHUTDOWN_TIMEOUT": "60"})
    body = body_of(5000)
    with box.hello() as busy, box.hello() as idle:
        envelope(busy)
        busy.send(stuffed(body)[:1000])
        address = box.address()
        box.signal("SIGTERM")
        assert idle.reply().startswith(b"421 4.3.2 ")
        assert idle.end()
        assert eventually(lambda: not is_served(box, address), what="a closed listener")
        busy.send(stuffed(body)[1000:])
        reply = busy.reply()
        assert reply.startswith(b"250 2.0.0 OK queued as ")
        assert busy.rest().startswith((b"421 ", b""))
    assert box.exit_code() == 0
    assert [(one.id, one.body) for one in after(start, box)] == [(reply.split()[-1].decode(), body)]


def is_served(box, address):
    with contextlib.suppress(ClosedError, ConnectionError), Wire(address) as wire:
        return wire.reply().startswith(b"220 ")
    return False


def after(start, box):
    """Return what a new container finds on the volume of an ended one."""
    return start(volume=box.volume).messages()


def test_docker_stop_ends_it_with_0_inside_the_grace_period(start):
    """With clients connected and idle; 137 would say that the engine had to kill it."""
    box = start()
    with box.hello(), box.hello() as wire:
        deliver(wire, body_of(100))
        assert box.stop(grace=10) == 0
    assert box.records()[-1]["event"] == "stopped"


def test_a_client_that_never_finishes_does_not_hold_the_stop(start):
    box = start({"SMTP_SHUTDOWN_TIMEOUT": "0.5"})
    with box.hello() as wire:
        envelope(wire)
        wire.send(b"Subject: never\r\n\r\n")
        box.signal("SIGTERM")
        assert box.exit_code() == 0
    assert after(start, box) == []


def test_a_second_signal_hurries_the_stop(start):
    box = start({"SMTP_SHUTDOWN_TIMEOUT": "60"})
    with box.hello() as wire:
        envelope(wire)
        box.signal("SIGTERM")
        eventually(lambda: box.http("/readyz").status == 503, what="the drain")
        box.signal("SIGTERM")
        assert box.exit_code() == 0


def test_a_stop_under_load_loses_nothing(start):
    box = start()
    with Crowd(box.hello, CLIENTS, enough=when(60, lambda: box.signal("SIGTERM"))) as crowd:
        assert box.exit_code() == 0
        ledger = crowd.join()
    assert len(ledger.acknowledged) >= 60
    ledger.settle(after(start, box))


def when(count, act):
    """Return what acts once, from a thread of its own, when that many messages are kept."""
    done = threading.Event()

    def enough(kept):
        if kept >= count and not done.is_set():
            done.set()
            threading.Thread(target=act).start()

    return enough


# --- crashing


@pytest.mark.parametrize("store", ["sqlite:/var/mail/prixfixe.db", "maildir:/var/mail/box"])
@pytest.mark.parametrize("seed", [1, 2])
def test_sigkill_under_load_loses_nothing_that_was_acknowledged(start, store, seed):
    """Killed at a point the seed draws; then every 250 is there once and whole, and no half."""
    count = random.Random(seed).randrange(20, 120)
    environ = {"SMTP_STORE": store}
    box = start(environ)
    with Crowd(box.hello, CLIENTS, enough=when(count, lambda: box.signal("SIGKILL"))) as crowd:
        assert box.exit_code() == 137
        ledger = crowd.join()
    assert len(ledger.acknowledged) >= count
    again = start(environ, volume=box.volume)
    kept = again.messages()
    ledger.settle(kept)
    with again.hello() as wire:
        name = deliver(wire, body_of(100))
    assert len(again.messages()) == len(kept) + 1
    assert name not in ledger.acknowledged


def test_docker_rm_f_in_the_middle_of_a_message_keeps_no_half(start):
    box = start()
    whole = body_of(1000)
    with box.hello() as wire, box.hello() as other:
        name = deliver(other, whole)
        envelope(wire)
        wire.send(stuffed(body_of(50_000))[:30_000])
        box.remove()
    assert [(one.id, one.body) for one in start(volume=box.volume).messages()] == [(name, whole)]


KILL = """
import os, signal
for pid in filter(str.isdecimal, os.listdir("/proc")):
    if pid != "1" and b"prixfixe" in open(f"/proc/{pid}/cmdline", "rb").read().split(b"-IBc")[0]:
        os.kill(int(pid), signal.SIGKILL)
"""


@pytest.mark.parametrize("policy", ["on-failure", "unless-stopped"])
def test_the_engine_restarts_a_crashed_server_and_the_mail_is_there(start, policy):
    """The engine's init is PID 1 here, since no process of a container can kill its PID 1."""
    box = start(init=True, restart_policy={"Name": policy})
    with box.hello() as wire:
        name = deliver(wire, body_of(1000))
    box.run(PYTHON, "-IBc", KILL)  # which dies with the server
    eventually(lambda: box.container.attrs["RestartCount"] == 1, what="a restart")
    box.await_greeting()
    assert [one.id for one in box.messages()] == [name]
    assert box.check().code == 0


def test_a_server_that_was_stopped_is_not_restarted(start):
    box = start(restart_policy={"Name": "on-failure"})
    assert box.stop() == 0
    assert box.container.attrs["RestartCount"] == 0


# --- restarting


def test_mail_survives_a_restart_of_the_container(start):
    box = start()
    body = body_of(2000)
    with box.hello() as wire:
        name = deliver(wire, body)
    assert box.stop() == 0
    box.start_again()
    assert [(one.id, one.body) for one in box.messages()] == [(name, body)]
    with box.hello() as wire:
        deliver(wire, body_of(100))
    assert len(box.messages()) == 2


def test_mail_survives_a_new_container_on_the_same_volume(start, volume):
    ledger = Ledger()
    for _ in range(3):
        box = start(volume=volume)
        with box.hello() as wire:
            body = body_of(1000)
            ledger.acknowledged[deliver(wire, body)] = body
        assert box.stop() == 0
    ledger.settle(start(volume=volume).messages())


def test_two_servers_never_share_a_volume(start, run_once):
    box = start()
    ended = run_once(**at_mail(box.volume))
    assert ended.code == 3
    assert "/var/mail/prixfixe.db" in ended.err
    with box.hello() as wire:
        deliver(wire, body_of(100))


@pytest.fixture
def tags(image, request):
    """Two images by name: the release before, and the one under test. The run's sweep has them."""
    previous = request.config.getoption("--previous", None) or image
    names = {f"prixfixe-test:{kind}-{engine.new_name()}": kind for kind in ("old", "new")}
    for (name, kind), base in zip(names.items(), (previous, image), strict=True):
        recipe = io.BytesIO(f"FROM {base}\nLABEL prixfixe.test={kind}\n".encode())
        engine.client().images.build(fileobj=recipe, tag=name, labels=engine.labels(), rm=True)
    return list(names)


def test_an_upgrade_and_its_rollback_find_all_mail(start, volume, tags):
    """By tag on one volume: old writes, new reads and writes, old reads both.

    Without `--previous` both are the image under test: then this proves the procedure.
    """
    old, new = tags
    ledger = Ledger()
    for tag in (old, new, old):
        box = start(image=tag, volume=volume)
        ledger.settle(box.messages())
        with box.hello() as wire:
            body = body_of(3000)
            ledger.acknowledged[deliver(wire, body)] = body
        assert box.stop() == 0
    assert len(ledger.acknowledged) == 3


# --- volumes


def test_a_bind_mount_that_its_user_owns_works(start, tmp_path):
    tmp_path.chmod(0o777)
    box = start(volume=None, **at_mail(tmp_path))
    with box.hello() as wire:
        deliver(wire, body_of(100))
    assert len(box.messages()) == 1
    assert box.stop() == 0
    found = {path.name: path.stat() for path in tmp_path.iterdir()}
    assert found["prixfixe.db"].st_mode & 0o777 == 0o600
    assert {one.st_uid for one in found.values()} == {1000}


# An empty volume would be given the image's owner when it is mounted.
ROOTS = """
import os
open("/var/mail/something", "w")
os.chown("/var/mail", 0, 0)
os.chmod("/var/mail", 0o755)
"""


def test_a_volume_of_root_s_stops_the_start_with_the_remedy(run_once, image, volume):
    as_root(
        image,
        ROOTS,
        **at_mail(volume),
    )
    ended = run_once(**at_mail(volume))
    assert ended.code == 3
    assert "store /var/mail/prixfixe.db is not writable by 1000:1000" in ended.err
    assert "chown -R 1000:1000" in ended.err
    assert "Traceback" not in ended.err


def test_a_read_only_volume_stops_the_start_with_the_remedy(run_once, volume):
    ended = run_once(**at_mail(volume, "ro"))
    assert ended.code == 3
    assert "read-only" in ended.err
    assert "/var/mail/prixfixe.db" in ended.err


def test_a_read_only_root_without_a_volume_stops_the_start_with_the_remedy(run_once):
    ended = run_once()
    assert ended.code == 3
    assert "/var/mail/prixfixe.db is on a read-only file system; mount a volume there" in ended.err


def test_a_damaged_store_stops_the_start_and_is_left_as_it_was(run_once, image, volume):
    """A store is never replaced by an empty one."""
    write = "open('/var/mail/prixfixe.db', 'wb').write(b'not a database ' * 1000)"
    as_root(
        image,
        f"{write}; import os; os.chown('/var/mail/prixfixe.db', 1000, 1000)",
        **at_mail(volume),
    )
    ended = run_once(**at_mail(volume))
    assert ended.code == 3
    assert "not a mail store" in ended.err
    as_root(
        image,
        "assert open('/var/mail/prixfixe.db', 'rb').read() == b'not a database ' * 1000",
        **at_mail(volume),
    )


def test_a_full_disk_is_a_452_and_mail_flows_again_when_there_is_room(start):
    box = start({"SMTP_STORE_MIN_FREE": "0"}, **mail_on_tmpfs("8m"))
    with box.hello() as wire:
        first = deliver(wire, body_of(1000))
        box.python(FILL)
        envelope(wire)
        wire.send(stuffed(body_of(1_000_000)))
        assert wire.reply().startswith(b"452 4.3.1 ")
        box.python("import os; os.unlink('/var/mail/ballast')")
        second = eventually(lambda: kept(wire), what="room")
    assert [one.id for one in box.messages()] == [first, second]


def kept(wire):
    envelope(wire)
    wire.send(stuffed(body_of(1000)))
    reply = wire.reply()
    return reply.split()[-1].decode() if reply.startswith(b"250 ") else None
