"""F14: a clock that stands still, random numbers that repeat, and two servers on one store.

No message is overwritten when an id comes again. A second server is refused with the process id of
the first, and the first goes on taking mail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.durability.rig import Stand

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["repeat_ids", "second_server"]

OCTETS = 2000


def repeat_ids(stand: Stand) -> tuple[list[str], int]:
    """Serve twice with a clock and random numbers that begin anew; the second makes the same ids."""
    stand.start()
    codes = [stand.send(OCTETS) for _ in range(7)]
    problems = [] if codes == [250] * 7 else [f"first life answered {codes}"]
    stand.restart()
    codes = [stand.send(OCTETS) for _ in range(6)]
    refused = codes.count(451)
    # An attempt that failed takes an id too, so every second one of the first life comes again.
    # Where the name of a file holds the size, an id may come again with another size; here not.
    if codes != [451] * 4 + [250] * 2:
        problems.append(f"second life answered {codes}")
    return problems + stand.problems(by_api=True), refused


def second_server(stand: Stand, folder: Path) -> list[str]:
    """Start a second server on the store of a running one, then kill the first and start again."""
    server = stand.start()
    problems = [] if stand.send() == 250 else ["the first server takes no mail"]
    rival = Stand(folder, stand.technology, stand.fault)
    rival.url = stand.url
    try:
        rival.start()
        problems.append("a second server was let in")
    except RuntimeError as error:
        if f"in use by pid {server.main}" not in str(error):
            problems.append(f"the second server said: {error}")
    finally:
        rival.close()
    if stand.send() != 250:
        problems.append("the first server takes no mail any more")
    return problems + stand.recovered()
