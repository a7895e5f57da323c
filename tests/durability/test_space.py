import contextlib
import subprocess
import sys

import pytest

from tests.durability import disks, space

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("mounting")]


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request, tmp_path):
    """Return a small disk of 8 MiB."""
    if request.param == "tmpfs":
        with disks.small_disk(tmp_path / "disk", "size=8m") as path:
            yield path
    else:
        with disks.loop_disk(tmp_path, "8M") as made:
            yield made.path


def test_f09_full_disk(stand, disk, survived):
    stand.place(disk)
    for blocks in (0, 1, 3, 200):
        assert space.out_of_blocks(stand, disk, blocks) == []
        survived("F09", stand.technology, 1, "full disks")
    stand.close()


def test_f09_no_inodes(stand, tmp_path, survived):
    with disks.loop_disk(tmp_path, "512M", "-N", "128") as disk:
        stand.place(disk.path)
        assert space.out_of_inodes(stand, disk.path) == []
        stand.close()
    survived("F09", stand.technology, 1, "disks without inodes")


def test_f09_deleting_makes_room(make_stand, technology, tmp_path, survived):
    stand = make_stand(technology, SMTP_STORE_MIN_FREE="4MiB")
    with disks.small_disk(tmp_path / "disk", "size=8m") as path:
        stand.place(path)
        assert space.free_by_deleting(stand) == []
        stand.close()
    survived("F09", technology, 1, "reserves reached and mail deleted")


@pytest.mark.parametrize("is_part", [False, True], ids=["all", "a part"])
def test_f09_deleting_on_a_full_disk_without_a_reserve_of_free_space(
    stand, disk, survived, is_part
):
    stand.place(disk)
    assert space.delete_on_full_disk(stand, disk, is_part=is_part) == []
    stand.close()
    survived("F09", stand.technology, 1, "deletions on a disk without room")


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_f09_deleting_one_by_one_leaves_room_for_deleting_all(stand, kind, tmp_path, survived):
    with contextlib.ExitStack() as stack:
        if kind == "tmpfs":
            path = stack.enter_context(disks.small_disk(tmp_path / "disk", "size=16m"))
        else:
            path = stack.enter_context(disks.loop_disk(tmp_path, "16M")).path
        stand.place(path)
        assert space.delete_one_by_one(stand, path) == []
        stand.close()
    survived("F09", stand.technology, 1, "deletions on a disk without room")


def test_f10_start_on_a_read_only_disk_is_refused(stand, tmp_path, survived):
    with disks.loop_disk(tmp_path) as disk:
        stand.place(disk.path)
        stand.start()
        stand.send()
        stand.server.terminate()
        disk.unmount()
        disk.mount("ro")
        done = subprocess.run(
            [sys.executable, "-m", "prixfixe", "serve"],
            env={"SMTP_STORE": stand.url, "SMTP_PORT": "0", "SMTP_HTTP_PORT": "off"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 3
        assert "on a read-only file system; mount a volume there, and read-write" in done.stderr
        assert stand.problems() == []
        disk.unmount()
        disk.mount()
        assert stand.recovered() == []
        stand.close()
    survived("F10", stand.technology, 1, "starts on a read-only disk refused")


def test_f10_file_system_fails_and_goes_read_only(stand, tmp_path, survived):
    with disks.loop_disk(tmp_path, "64M", "-e", "remount-ro") as disk:
        stand.place(disk.path)
        assert space.fail_disk(stand, disk) == []
        stand.close()
    survived("F10", stand.technology, 1, "file systems gone read-only")


@pytest.mark.usefixtures("tracing")
def test_f10_writes_refused_for_a_while(stand, survived):
    assert space.refuse_writes(stand) == []
    survived("F10", stand.technology, 1, "times read-only under the server")
