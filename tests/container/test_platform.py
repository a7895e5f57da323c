"""An image of another processor, under emulation: `scripts/build.sh --platform linux/arm64`, then
`nox -s container -- tests/container/test_platform.py --image prixfixe:arm64`."""

import pytest

from tests.container import engine
from tests.container.talk import body_of, deliver
from tests.container.waiting import eventually, is_greeted

# What Docker calls a processor, and what its kernel calls it.
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# The emulator has threads and memory of its own.
ROOM = {"pids_limit": 256, "mem_limit": "512m", "memswap_limit": "512m"}
START_SECONDS = 300.0  # ten times as long as on the processor itself, and the machine may be busy


@pytest.fixture
def foreign(image):
    """The image under test, if it is of another processor than the engine's."""
    there = engine.client().images.get(image).attrs["Architecture"]
    if MACHINES[there] == engine.client().info()["Architecture"]:
        pytest.skip(f"the image is of this machine's processor ({there}): --image prixfixe:arm64")
    return there


@pytest.mark.timeout(600)
def test_another_processor_s_image_receives_stores_shows_and_stops(foreign, start):
    box = start({}, is_awaited=False, **ROOM)
    eventually(lambda: is_greeted(box.address()), START_SECONDS, "a greeting")
    assert box.python("import platform; print(platform.machine())").strip() == MACHINES[foreign]
    body = body_of(200_000)
    with box.hello() as wire:
        name = deliver(wire, body)
    [mail] = box.messages()
    assert (mail.id, mail.body) == (name, body)
    assert box.check().code == 0
    assert box.http("/readyz").status == 200
    assert box.stop() == 0
