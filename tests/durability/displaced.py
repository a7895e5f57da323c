"""F16: a file or folder of the store is removed, moved, cut or replaced under a running server.

The server must store what it acknowledges afterwards where a new start finds it, or refuse mail and
say why in `/readyz`. Mail acknowledged before is not judged, and a store that is moved back is used
again.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from tests.durability import strace
from tests.durability.evidence import from_store, path_of, recover
from tests.durability.space import readiness
from tests.durability.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.durability.client import Client
    from tests.durability.rig import Stand

__all__ = ["EVENTS", "between_calls", "between_messages", "put_back"]


def _database(path: Path) -> tuple[Path, Path, Path]:
    return path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def _cut(path: Path, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))


def _aside(path: Path) -> Path:
    return path.rename(path.parent.parent / f"{path.name}.aside")


def _other(path: Path) -> Path:
    """Make another store."""
    other = path.parent.parent / "other" / "other.db"
    recover(f"sqlite:{other}")
    return other


def _folder_again(path: Path) -> None:
    _aside(path.parent)
    path.parent.mkdir()


def _linked(path: Path) -> None:
    """Put a link to an empty folder in a folder's place."""
    elsewhere = path.parent.parent / "elsewhere"
    elsewhere.mkdir()
    _aside(path)
    path.symlink_to(elsewhere)


def _fresh(path: Path) -> None:
    _aside(path)
    path.mkdir()


def _fresh_root(path: Path) -> None:
    path.rename(path.with_name("root.aside"))
    for each in ("new", "tmp", "cur"):
        (path / each).mkdir(parents=True)


_SQLITE: dict[str, Callable[[Path], object]] = {
    "database removed": lambda path: path.unlink(),
    "database moved": _aside,
    "database cut to nothing": lambda path: _cut(path, 0),
    "database cut": lambda path: _cut(path, 0.5),
    "database replaced": lambda path: _other(path).rename(path),
    "database written over": lambda path: shutil.copyfile(_other(path), path),
    "log removed": lambda path: _database(path)[1].unlink(),
    "log moved": lambda path: _aside(_database(path)[1]),
    "log cut to nothing": lambda path: _cut(_database(path)[1], 0),
    "log cut": lambda path: _cut(_database(path)[1], 0.5),
    "log replaced": lambda path: _replace_by_copy(_database(path)[1]),
    "index removed": lambda path: _database(path)[2].unlink(),
    "folder moved": lambda path: _aside(path.parent),
    "folder moved, a new one made": _folder_again,
    "folder removed": lambda path: shutil.rmtree(path.parent),
    "lock removed": lambda path: path.with_name(path.name + ".lock").unlink(),
}
_MAILDIR: dict[str, Callable[[Path], object]] = {
    **{f"{each} moved": lambda path, each=each: _aside(path / each) for each in ("new", "tmp")},
    **{f"{each} replaced": lambda path, each=each: _fresh(path / each) for each in ("new", "tmp")},
    **{
        f"{each} made a link": lambda path, each=each: _linked(path / each)
        for each in ("new", "tmp")
    },
    "new removed": lambda path: shutil.rmtree(path / "new"),
    "cur removed": lambda path: shutil.rmtree(path / "cur"),
    "root moved": lambda path: path.rename(path.with_name("root.aside")),
    "root replaced": _fresh_root,
    "root removed": shutil.rmtree,
    "lock removed": lambda path: (path / ".prixfixe.lock").unlink(),
}
EVENTS = {"sqlite": _SQLITE, "maildir": _MAILDIR}


def _replace_by_copy(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    copy.rename(path)


def between_messages(stand: Stand, event: str) -> list[str]:
    """Do it while nothing is under way; see that what is taken afterwards is there."""
    stand.start()
    with stand.client() as client:
        _send(client, 3)
        EVENTS[stand.technology][event](path_of(stand.url))
        return _judged(stand, client, len(stand.ledger.sent))


def between_calls(
    stand: Stand, event: str, call: str, when: int, *, is_decided: bool
) -> tuple[list[str], bool]:
    """Do it after one system call of the writing thread; tell whether there was such a call.

    A message whose last sync is over may have been judged by then: it counts as acknowledged before.
    """
    server = stand.start()
    with stand.client() as client:
        _send(client, 3)
        sent = client.open_data()
        assert sent is not None
        with strace.attached(server.writer, *strace.inject(call, "signal=STOP", when)):
            client.end_data(sent)
            is_stopped = until(lambda: _is_stopped(server) or client.wire.has_more(0))
            is_hit = bool(is_stopped) and _is_stopped(server)
            if is_hit:
                EVENTS[stand.technology][event](path_of(stand.url))
            server.signal(signal.SIGCONT)
            client.hear(sent)
        if not is_hit:
            return [], False
        return _judged(stand, client, sent.number + is_decided), True


def _is_stopped(server) -> bool:
    text = Path(f"/proc/{server.main}/stat").read_text(encoding="ascii")
    return text.rpartition(")")[2].split()[0] == "T"


def _send(client: Client, count: int) -> None:
    for _ in range(count):
        client.send()


def _judged(stand: Stand, client: Client, first: int) -> list[str]:
    """Send some more, start again, and compare what was acknowledged since."""
    server = stand.server
    assert server is not None
    _send(client, 3)
    after = stand.ledger.sent[first:]
    problems = [f"answered {each.code}" for each in after if each.code not in (250, 451)]
    status, answer = readiness(server)
    if after[-1].code == 451 and (status != 503 or "removed, moved, cut" not in str(answer)):
        problems.append(f"refuses mail, and says {status} {answer}")
    server.kill()
    kept = [each for each in after if each.is_kept]
    try:
        stand.start().terminate()
    except RuntimeError as error:
        return problems + [f"acknowledged, and no start: {error}" for _ in kept[:1]]
    evidence = from_store(stand.url)
    found = {each.digest for each in evidence.found}
    problems += [f"lost: {each.number}" for each in kept if each.digest not in found]
    return problems + [f"damaged: {each}" for each in evidence.damaged]


def put_back(stand: Stand) -> list[str]:
    """Move the store away and back; what was refused in between is taken then."""
    path = path_of(stand.url)
    folder = path.parent if stand.technology == "sqlite" else path
    away = folder.with_name("away")
    stand.start()
    with stand.client() as client:
        client.send()
        folder.rename(away)
        codes = [client.send(), client.send()]
        away.rename(folder)
        codes += [client.send(), client.send()]
    found = [] if codes == [451, 451, 250, 250] else [f"answered {codes}"]
    server = stand.server
    assert server is not None
    if readiness(server)[0] != 200:
        found.append("not ready, though all is back")
    return found + stand.recovered(may_refused_stay=True)
