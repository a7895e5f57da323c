"""What may happen to a cluster under load that is not the end of its primary.

Each outage is a function of a `Scene`, and raises `AssertionError` where the promise is broken:
no 250 without a quorum, 451 in time, and mail again when the quorum is back.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.durability import disks, strace
from tests.durability.failover import Fleet
from tests.durability.waiting import until
from tests.support.pg_cluster import Cluster, Node
from tests.support.wire_cut import Wire

if TYPE_CHECKING:
    from tests.durability.rig import Running

__all__ = ["OUTAGES", "SHORT", "Scene"]

IN_FLIGHT = 9  # what each client has sent when standbys answer for the last time
REFUSAL_SECONDS = 30.0  # promised
BACK_SECONDS = 2.0  # promised
SLACK_SECONDS = 15.0  # of a busy machine
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
SLOW = "inject=fdatasync:delay_enter=200000"  # microseconds


class Scene:
    """A cluster, and servers under load on it. An outage takes `seconds` where it has a length."""

    def __init__(self, cluster: Cluster, folder: Path, seconds: float, fault: str = "") -> None:
        self.cluster = cluster
        self.seconds = seconds
        self.back_after = 0.0  # seconds until all servers were ready again
        self._folder = folder
        self._fault = fault
        self._stack = contextlib.ExitStack()
        self.fleet: Fleet

    def begin(self, url: str = "") -> Fleet:
        """Start the servers and the load."""
        folder = self._folder / "fleet"
        folder.mkdir()
        self.fleet = Fleet(self.cluster, folder, 1, url=url, fault=self._fault)
        self._stack.callback(self.fleet.close)
        self.fleet.flows(30)
        return self.fleet

    def standbys(self) -> list[Node]:
        """Return the nodes that are not the primary."""
        return [node for node in self.cluster.nodes if node is not self.cluster.primary]

    def wires(self) -> list[Wire]:
        """Return a wire to each node, for the servers."""
        return [self._stack.enter_context(Wire(node.port)) for node in self.cluster.nodes]

    def wire_to_primary(self) -> Wire:
        """Have the standbys follow the primary over a wire."""
        primary = self.cluster.primary
        wire = self._stack.enter_context(Wire(primary.port))
        primary.way = wire.port
        for node in self.standbys():
            self.cluster.follow(node)
        over = f"SELECT conninfo LIKE '%port={wire.port} %' FROM pg_stat_wal_receiver"
        for node in self.standbys():
            self.cluster.wait_until(over, "t", node=node)
        self.cluster.wait_for_standbys(2)
        return wire

    def keep(self, callback: Callable[[], object]) -> None:
        """Do something at the end."""
        self._stack.callback(callback)

    @contextlib.contextmanager
    def no_mail(self) -> Iterator[None]:
        """Take no 250 inside, but those that were on their way; last for the outage's length."""
        kept, since = len(self.fleet.ledger.kept), time.monotonic()
        yield
        threading.Event().wait(max(0.0, self.seconds - (time.monotonic() - since)))
        came = len(self.fleet.ledger.kept) - kept
        assert came <= IN_FLIGHT, f"{came} acknowledged without a quorum"

    def is_refused(self) -> None:
        """See 451 in time, and servers that are not ready, if the outage is long enough for it."""
        if self.seconds < REFUSAL_SECONDS:
            return
        since = time.monotonic()
        limit = REFUSAL_SECONDS + SLACK_SECONDS
        assert until(lambda: 451 in self.fleet.codes, limit), "nobody was told 451"
        assert time.monotonic() - since < limit
        ready = [one for one in self.fleet.servers if self.fleet.is_ready(one)]
        assert not ready, "a server without a quorum is ready"

    def is_back(self) -> None:
        """See servers that are ready again in time, and mail that flows."""
        since = time.monotonic()
        servers = self.fleet.servers
        assert until(lambda: all(map(self.fleet.is_ready, servers)), 60.0), "not ready again"
        self.back_after = time.monotonic() - since
        assert self.back_after < BACK_SECONDS + SLACK_SECONDS
        self.fleet.flows(30)

    def end(self) -> None:
        """Stop the load, and compare."""
        self.fleet.stop()
        problems = self.fleet.problems() + self.fleet.defects()
        assert not problems, problems

    def close(self) -> None:
        """End everything."""
        self._stack.close()


def one_standby(scene: Scene, take: Callable[[Node], None], give: Callable[[Node], None]) -> None:
    """One standby of two is away: nobody notices."""
    fleet = scene.begin()
    away = scene.standbys()[0]
    take(away)
    fleet.flows(50)
    threading.Event().wait(scene.seconds / 3)  # in the full form it is dropped meanwhile
    fleet.flows(50)
    assert fleet.codes == {250}, fleet.codes
    assert all(map(fleet.is_ready, fleet.servers))
    give(away)
    scene.cluster.wait_for_standbys(2)
    fleet.flows(30)


def a_standby_freezes(scene: Scene) -> None:
    """One standby of two is frozen."""
    one_standby(scene, Node.freeze, Node.thaw)


def a_standby_is_killed(scene: Scene) -> None:
    """One standby of two is killed."""
    one_standby(scene, Node.kill, Node.start)


def all_standbys(scene: Scene, take: Callable[[Node], None], give: Callable[[Node], None]) -> None:
    """No standby is there for a while: no 250, then mail again."""
    scene.begin()
    for node in scene.standbys():
        take(node)
    with scene.no_mail():
        scene.is_refused()
    for node in scene.standbys():
        give(node)
    scene.is_back()


def all_standbys_freeze(scene: Scene) -> None:
    """Both standbys are frozen."""
    all_standbys(scene, Node.freeze, Node.thaw)


def all_standbys_are_killed(scene: Scene) -> None:
    """Both standbys are killed."""
    all_standbys(scene, Node.kill, Node.start)


def names_are_emptied(scene: Scene) -> None:
    """Commits wait, and the names of standbys are taken away: they succeed, and are no 250."""
    scene.begin()
    for node in scene.standbys():
        node.freeze()
    with scene.no_mail():
        assert until(lambda: int(scene.cluster.ask(WAITING)[0]) == 3), "no commit waits"
        scene.cluster.set(scene.cluster.primary, "synchronous_standby_names = ''")
        assert until(lambda: scene.cluster.ask(WAITING) == ["0"]), "the commits still wait"
        scene.is_refused()
    for node in scene.standbys():
        node.thaw()
    scene.cluster.follow_nobody(scene.cluster.primary)
    scene.is_back()


def servers_are_cut_off(scene: Scene) -> None:
    """Nothing passes between the servers and the database."""
    wires = scene.wires()
    scene.begin(scene.cluster.new_url(wire.port for wire in wires))
    for wire in wires:
        wire.cut()
    with scene.no_mail():
        scene.is_refused()
    for wire in wires:
        wire.mend()
    scene.is_back()


def servers_lose_the_primary(scene: Scene) -> None:
    """Nothing passes to the primary alone; another is promoted, and mail goes there."""
    wires = scene.wires()
    fleet = scene.begin(scene.cluster.new_url(wire.port for wire in wires))
    old = scene.cluster.primary
    cut = wires[scene.cluster.nodes.index(old)]
    cut.cut()
    old.kill()
    scene.cluster.promote()
    fleet.flows(30)
    cut.mend()
    scene.cluster.rejoin(old)
    scene.cluster.wait_for_standbys(2)
    scene.is_back()


def nodes_are_cut_off(scene: Scene) -> None:
    """Nothing passes between the primary and its standbys."""
    wire = scene.wire_to_primary()
    scene.begin()
    wire.cut()
    with scene.no_mail():
        scene.is_refused()
    wire.mend()
    scene.is_back()


def two_primaries(scene: Scene) -> None:
    """The primary is cut off from its standbys, and another is promoted while it goes on."""
    wire = scene.wire_to_primary()
    fleet = scene.begin()
    old = scene.cluster.primary
    wire.cut()
    scene.cluster.promote()
    fleet.flows(50)
    wire.mend()  # nothing follows the old one any more
    fleet.flows(50)
    scene.cluster.rejoin(old)
    scene.cluster.wait_for_standbys(2)
    scene.is_back()


def the_disk_is_full(scene: Scene) -> None:
    """The disk of the primary's tables has no room: 452; then it has, and mail is taken."""
    place, url = _on_small_disk(scene)
    fleet = scene.begin(url)
    with disks.filled(place, 8):
        assert until(lambda: 452 in fleet.codes, 60.0), fleet.codes
        assert 451 not in fleet.codes
    scene.is_back()


def _on_small_disk(scene: Scene) -> tuple[Path, str]:
    """Return a small disk of the primary, and the URL of a store whose tables are there."""
    cluster = scene.cluster
    cluster.ask("SET allow_in_place_tablespaces = on", "CREATE TABLESPACE small LOCATION ''")
    scene.keep(lambda: cluster.ask("DROP TABLESPACE IF EXISTS small"))
    (oid,) = cluster.ask("SELECT oid FROM pg_tablespace WHERE spcname = 'small'")
    (version,) = (cluster.primary.folder / "pg_tblspc" / oid).iterdir()
    place = cluster.primary.folder / "pg_tblspc" / oid / version.name
    owner = place.stat()
    place.rmdir()
    options = f"size=64M,uid={owner.st_uid},gid={owner.st_gid},mode=0700"
    scene._stack.enter_context(disks.small_disk(place, options))
    cluster.ask("CREATE DATABASE small TABLESPACE small")
    scene.keep(lambda: cluster.ask("DROP DATABASE small WITH (FORCE)"))
    return place, cluster.url(database="small")


def the_disk_is_slow(scene: Scene) -> None:
    """Each flush of the primary takes a fifth of a second: mail is slow, and none is refused."""
    fleet = scene.begin()
    main = scene.cluster.primary.pids()[0]
    with strace.attached(main, "-f", "-e", "trace=fdatasync", "-e", SLOW):
        fleet.flows(60)
        assert all(map(fleet.is_ready, fleet.servers))
    assert fleet.codes == {250}, fleet.codes
    fleet.flows(30)


def a_lagging_standby_is_promoted(scene: Scene) -> None:
    """It lacks acknowledged mail: each server tells how much of what it acknowledged."""
    cluster = scene.cluster
    fleet = scene.begin()
    behind = scene.standbys()[0]
    cluster.set(behind, "primary_conninfo = 'host=127.0.0.1 port=1 user=postgres'")
    cluster.wait_for_standbys(1)
    fleet.flows(50)
    cluster.primary.kill()
    cluster.promote(behind)
    assert until(lambda: all(map(_lost, fleet.servers)), 60.0), "nobody is told of lost mail"
    fleet.stop()
    problems = fleet.problems()
    assert all(each.startswith("lost: ") for each in problems), problems
    assert sum(map(_lost, fleet.servers)) == len(problems)


def _lost(server: Running) -> int:
    """Return how many messages a server says are lost."""
    told = re.search(r'"event":"store lost mail".*?"lost":(\d+)', server.logs())
    return int(told[1]) if told else 0


# name: (the outage, how many seconds it lasts in the full form)
OUTAGES: dict[str, tuple[Callable[[Scene], None], float]] = {
    "a standby frozen": (a_standby_freezes, 36.0),
    "a standby killed": (a_standby_is_killed, 3.0),
    "all standbys frozen": (all_standbys_freeze, 60.0),
    "all standbys killed": (all_standbys_are_killed, 60.0),
    "names emptied in a commit": (names_are_emptied, 32.0),
    "servers cut off": (servers_are_cut_off, 60.0),
    "servers cut off from the primary": (servers_lose_the_primary, 0.0),
    "nodes cut off": (nodes_are_cut_off, 32.0),
    "two primaries": (two_primaries, 0.0),
    "disk full": (the_disk_is_full, 0.0),
    "disk slow": (the_disk_is_slow, 0.0),
    "a standby promoted that is behind": (a_lagging_standby_is_promoted, 0.0),
}
# What the default run has too, for some seconds.
SHORT = ("all standbys frozen",)
SHORT_SECONDS = 2.0
