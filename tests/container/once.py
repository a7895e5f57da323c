"""Run a container to its end, for bad settings, commands, and helpers that prepare a volume.

The result is its exit code and its two streams. The container is always removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from requests.exceptions import ConnectionError as NoAnswerError
from requests.exceptions import ReadTimeout

from tests.container import engine
from tests.container.box import PYTHON
from tests.container.profile import hardened

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Ended", "as_root", "once"]


class Ended(NamedTuple):
    """How it ended and what it wrote."""

    code: int
    out: str
    err: str


def once(
    image: str,
    *words: str,
    environ: Mapping[str, str] | None = None,
    seconds: float = 20.0,
    **relaxed: Any,
) -> Ended:
    """Run the image hardened, with these words as its command, until it ends by itself."""
    options = hardened(**{"network_mode": "none", **relaxed}, labels=engine.labels())
    container = engine.client().containers.create(
        image, list(words) or None, environment=dict(environ or {}), **options
    )
    try:
        container.start()
        try:
            code = container.wait(timeout=seconds)["StatusCode"]
        except (ReadTimeout, NoAnswerError):
            log = container.logs().decode()
            raise AssertionError(f"still runs after {seconds:g} s: {log}") from None
        streams = [container.logs(stdout=is_out, stderr=not is_out) for is_out in (True, False)]
        return Ended(code, *(stream.decode("utf-8", "replace") for stream in streams))
    finally:
        container.remove(force=True, v=True)


def as_root(image: str, code: str, volumes: Mapping[str, Mapping[str, str]]) -> None:
    """Run Python as root, to make a volume what a test needs."""
    made = once(
        image, "-IBc", code, entrypoint=[PYTHON], user="0:0", cap_drop=None, volumes=dict(volumes)
    )
    assert made.code == 0, made
