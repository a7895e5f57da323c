"""Every scenario on a server that breaks the promise on purpose: each must find something."""

import zlib

import pytest

from prixfixe.stores.maildir import file as maildir_file
from prixfixe.stores.sqlite import file as sqlite_file
from tests.durability import damage, displaced, names, order, patience, power, single, space
from tests.durability.disks import loop_disk, small_disk

pytestmark = pytest.mark.timeout(300)

CUTS = 8  # of power at most: the sync of later mail may save what was not synced before it


class AnyChecksum:
    """A checksum that fits all octets."""

    def crc32(self, octets, start=0):
        zlib.crc32(octets)
        return self

    def __eq__(self, other):
        return True

    __hash__ = None


def _f01(stand, folder):
    return order.unsynced(stand, order.record(stand, folder))


def _f02(stand, folder):
    only = "read" if stand.technology == "sqlite" else "write"
    return single.kill_at_each_call(stand, folder, only=only)[0]


def _f03(stand, folder):
    return single.fail_each_call(stand, folder, stride=6)[0]


def _f04(stand, folder):
    return single.fail_sync_once(stand, folder, 1)[0]


def _f05(stand, folder):
    with loop_disk(folder, "64M") as disk:
        stand.place(disk.path)
        cuts = (power.cut_power(stand, disk, seed) for seed in range(CUTS))
        found = next(filter(None, cuts), [])
        stand.close()
    return found


def _f06(stand, folder):
    calls = order.record(stand, folder, together=3)
    return order.forget(stand, calls, folder, draws=0, servers=0)[0]


def _f08(stand, folder):
    return power.kill_under_load(stand, 1)


def _f09(stand, folder):
    with small_disk(folder / "disk", "size=8m") as disk:
        stand.place(disk)
        found = space.out_of_blocks(stand, disk, 3)
        stand.close()
    return found


def _f13(stand, folder):
    return single.fail_group(stand, 2 if stand.technology == "sqlite" else 3)[0]


def _f14(stand, folder):
    return names.second_server(stand, folder)


def _f16(event):
    return lambda stand, folder: displaced.between_messages(stand, event)


def _f16_after_rename(stand, folder):
    event = "new replaced"
    return displaced.between_calls(stand, event, "rename", 1, is_decided=False)[0]


BITES = [
    (_f01, "sqlite", "early"),
    (_f01, "sqlite", "synchronous-off"),
    (_f01, "sqlite", "synchronous-normal"),
    (_f01, "maildir", "early"),
    (_f01, "maildir", "no-folder-sync"),
    (_f01, "maildir", "no-file-sync"),
    (_f02, "sqlite", "early"),
    (_f02, "maildir", "in-place"),
    (_f03, "sqlite", "stay-broken"),
    (_f03, "maildir", "keep-failed"),
    (_f03, "maildir", "leak"),
    (_f04, "sqlite", "retry"),
    (_f04, "maildir", "retry"),
    (_f05, "sqlite", "synchronous-off"),
    (_f05, "sqlite", "early"),
    (_f05, "maildir", "no-folder-sync"),
    (_f05, "maildir", "no-file-sync"),
    (_f06, "sqlite", "small-log-off"),
    (_f06, "sqlite", "early"),
    (_f06, "maildir", "no-folder-sync"),
    (_f06, "maildir", "no-file-sync"),
    (_f08, "sqlite", "early"),
    (_f08, "maildir", "early"),
    (_f09, "sqlite", "stay-broken"),
    (_f09, "maildir", "permanent"),
    (lambda stand, folder: space.refuse_writes(stand), "maildir", "stay-broken"),
    (lambda stand, folder: patience.slow_disk(stand)[0], "sqlite", "on-the-loop"),
    (lambda stand, folder: patience.dead_disk(stand), "maildir", ""),
    (lambda stand, folder: patience.client_gone(stand), "maildir", "twice"),
    (_f13, "sqlite", "first-only"),
    (_f13, "maildir", "first-only"),
    (lambda stand, folder: names.repeat_ids(stand)[0], "sqlite", "overwrite"),
    (lambda stand, folder: names.repeat_ids(stand)[0], "maildir", "overwrite"),
    (_f14, "sqlite", "unlocked"),
    (_f14, "maildir", "unlocked"),
    (_f16("database removed"), "sqlite", "unlooked"),
    (_f16("log removed"), "sqlite", "unlooked"),
    (_f16("log cut to nothing"), "sqlite", "unread"),
    (_f16_after_rename, "maildir", "unlooked"),
    (lambda stand, folder: patience.stop_at(stand, "EHLO"), "sqlite", "abrupt"),
    (lambda stand, folder: patience.stop_at(stand, "DATA"), "maildir", "abrupt"),
    (lambda stand, folder: patience.stop_at(stand, "commit"), "sqlite", "abrupt"),
]


@pytest.mark.usefixtures("tracing", "mounting")
@pytest.mark.parametrize(("scenario", "technology", "fault"), BITES)
def test_a_broken_server_is_caught(scenario, technology, fault, make_stand, tmp_path):
    stand = make_stand(technology, fault)
    found = scenario(stand, tmp_path)
    assert found


def test_an_unchecked_read_is_caught(stand, tmp_path, monkeypatch):
    damage.prepare(stand)
    stand.start().terminate()
    monkeypatch.setattr(sqlite_file, "zlib", AnyChecksum())
    monkeypatch.setattr(maildir_file, "zlib", AnyChecksum())
    assert damage.flip_cold(stand, tmp_path / "copy", range(20))[0]
