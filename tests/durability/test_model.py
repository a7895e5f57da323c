"""The model disk by itself: what it accepts as safe, what it does not, and what it refuses."""

import pytest

from tests.durability.calls import parse
from tests.durability.ledger import Evidence, Found, Ledger, compare
from tests.durability.model import Disk, UnknownCallError

OPEN = 'openat(AT_FDCWD, "/d/a", O_WRONLY|O_CREAT{}, 0600) = 3\n'
WRITE = 'write(3, "mail", 4) = 4\n'
SYNC = "fsync(3) = 0\n"
FOLDER = 'openat(AT_FDCWD, "/d", O_RDONLY|O_DIRECTORY) = 4\nfsync(4) = 0\n'


def disk_after(text: str) -> Disk:
    disk = Disk("/d")
    for call in parse("".join(f"1 {line}\n" for line in text.splitlines())):
        disk.apply(call)
    return disk


@pytest.mark.parametrize(
    "trace",
    [
        OPEN.format("") + WRITE + SYNC + FOLDER,
        OPEN.format("") + WRITE + "fdatasync(3) = 0\n" + FOLDER,
        OPEN.format("|O_DSYNC") + WRITE + FOLDER,
        OPEN.format("|O_SYNC") + WRITE + FOLDER,
        OPEN.format("") + WRITE + "syncfs(3) = 0\n",
        OPEN.format("")
        + 'pwrite64(3, "il", 2, 2) = 2\npwrite64(3, "ma", 2, 0) = 2\n'
        + SYNC
        + FOLDER,
        OPEN.format("")
        + 'writev(3, [{iov_base="ma", iov_len=2}, {iov_base="il", iov_len=2}], 2) = 4\n'
        + SYNC
        + FOLDER,
        'openat(AT_FDCWD, "/d", O_WRONLY|O_TMPFILE, 0600) = 3\n'
        + WRITE
        + SYNC
        + 'linkat(AT_FDCWD, "/proc/self/fd/3", AT_FDCWD, "/d/a", AT_SYMLINK_FOLLOW) = 0\n'
        + FOLDER,
        'openat(AT_FDCWD, "/d/b", O_WRONLY|O_CREAT, 0600) = 3\n'
        + WRITE
        + SYNC
        + 'rename("/d/b", "/d/a") = 0\n'
        + FOLDER,
        OPEN.format("")
        + WRITE[:-5]
        + " <unfinished ...>\n<... write resumed>) = 4\n"
        + SYNC
        + FOLDER,
    ],
)
def test_what_is_synced_stays(trace):
    disk = disk_after(trace)
    assert disk.uncertain() == []
    assert disk.image() == {"a": b"mail"}


@pytest.mark.parametrize(
    ("trace", "left"),
    [
        (OPEN.format("") + WRITE, {}),
        (OPEN.format("") + WRITE + SYNC, {}),
        (OPEN.format("") + WRITE + FOLDER, {"a": b""}),
        (OPEN.format("") + SYNC + FOLDER + WRITE, {"a": b""}),
        (OPEN.format("") + WRITE + "sync_file_range(3, 0, 4, 0) = 0\n" + FOLDER, {"a": b""}),
        (
            OPEN.format("") + WRITE + "fsync(3) = -1 EIO (Input/output error)\n" + SYNC + FOLDER,
            {"a": b""},
        ),
        (OPEN.format("") + WRITE + SYNC + FOLDER + 'rename("/d/a", "/d/b") = 0\n', {"a": b"mail"}),
        (OPEN.format("") + WRITE + SYNC + FOLDER + "ftruncate(3, 0) = 0\n", {"a": b"mail"}),
        (OPEN.format("") + WRITE + SYNC + FOLDER + 'unlink("/d/a") = 0\n', {"a": b"mail"}),
    ],
)
def test_what_is_not_synced_may_go(trace, left):
    disk = disk_after(trace)
    assert disk.image() == left
    if "unlink" not in trace and "-1 EIO" not in trace:
        assert disk.uncertain()


def test_what_is_not_synced_may_stay_in_any_part():
    disk = disk_after(OPEN.format("") + WRITE + 'mkdir("/d/f", 0700) = 0\n')
    assert disk.image(lambda: True) == {"a": b"mail", "f": None}
    choices = iter([False, True])
    assert disk.image(lambda: next(choices)) == {"f": None}


@pytest.mark.parametrize(
    "call",
    [
        "copy_file_range(5, NULL, 3, NULL, 10, 0) = 10",
        "sendfile(3, 5, NULL, 10) = 10",
        'truncate("/d/a", 0) = 0',
        "dup(3) = 9",
        "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3, 0) = 0x7f0000000000",
        "io_uring_enter(4, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) = 1",
        "fallocate(3, FALLOC_FL_PUNCH_HOLE, 0, 100) = 0",
    ],
)
def test_what_the_model_does_not_know_is_refused(call):
    disk = disk_after(OPEN.format("") + WRITE)
    with pytest.raises(UnknownCallError):
        for each in parse(f"1 {call}"):
            disk.apply(each)


def test_a_string_that_was_cut_short_is_an_error():
    with pytest.raises(ValueError, match="cut a string short"):
        disk_after(OPEN.format("") + 'write(3, "ma"..., 4) = 4\n')


# --- the ledger


def _ledger(*codes: int) -> Ledger:
    ledger = Ledger()
    for code in codes:
        sent = ledger.compose()
        if code:
            ledger.answered(sent, b"%d 2.0.0 OK queued as id%d\r\n" % (code, sent.number))
    return ledger


def _found(sent, **changes) -> Found:
    facts = {"id": sent.id or "some", "sender": sent.sender, "recipients": sent.recipients}
    return Found(**{**facts, "digest": sent.digest, **changes})


def test_the_comparison_is_content_with_what_was_promised():
    ledger = _ledger(250, 451, 0, 0)
    kept, _, unknown, _ = ledger.sent
    assert compare(ledger, Evidence([_found(kept), _found(unknown)])) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda kept, refused: [], "lost"),
        (lambda kept, refused: [_found(kept), _found(kept)], "stored 2 times"),
        (lambda kept, refused: [_found(kept, id="other")], "stored as other"),
        (lambda kept, refused: [_found(kept, sender="x@y")], "another envelope"),
        (lambda kept, refused: [_found(kept, recipients=())], "another envelope"),
        (lambda kept, refused: [_found(kept), _found(kept, digest="0")], "not as anybody sent it"),
        (lambda kept, refused: [_found(kept), _found(refused)], "refused with 451 and stored"),
    ],
)
def test_the_comparison_finds(change, complaint):
    ledger = _ledger(250, 451)
    problems = compare(ledger, Evidence(change(*ledger.sent)))
    assert [each for each in problems if complaint in each]


def test_damage_and_residue_are_problems():
    assert len(compare(_ledger(), Evidence(damaged=["x"], residue=["tmp/y"]))) == 2
