"""Options and servers of the floods: processes and containers that floods are played on in turn.

A server is used again until a flood turned it red, so that no flood pays for the one before.
"""

import json

import pytest
from docker.types import Ulimit

from tests.container.builder import ROOT
from tests.floods import table
from tests.floods.play import Flooded, judge
from tests.floods.servers import SPECIAL, TLS_PORT, Contained, ServerProcess, environ_of, secrets
from tests.load.composed import limits

pytest_plugins = ["tests.container.plugin"]

EVIDENCE = ROOT / "evidence" / "floods.json"
NOFILE = 8192
SHORT = 0.35  # of a flood's seconds
_records = pytest.StashKey[list]()


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="every flood, in its full length")


def pytest_configure(config):
    config.addinivalue_line("markers", "full: takes its time, left out unless --all is given")
    config.stash[_records] = []


def pytest_collection_modifyitems(config, items):
    """Leave out what the default run does not play."""
    if config.getoption("--all"):
        return
    left = [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def pytest_terminal_summary(terminalreporter, config):
    """Tell what every flood left."""
    if records := config.stash[_records]:
        terminalreporter.section(f"floods: {EVIDENCE.relative_to(ROOT)}")
        for one in records:
            verdict = "; ".join(one["faults"]) or "held"
            terminalreporter.write_line(f"{one['id']} {one['target']:9} {one['what']}: {verdict}")


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """A folder, and the file of users in it."""
    folder = tmp_path_factory.mktemp("floods")
    return folder, secrets(folder / "secrets")


class Servers:
    """Servers by their settings, started when first asked for."""

    def __init__(self, start):
        self._start = start
        self._flooded = {}

    def of(self, port):
        """Return what takes the floods of a port."""
        key = _settings(port)
        if key not in self._flooded:
            self._flooded[key] = Flooded(self._start(port), is_proxied=port == "proxy")
        return self._flooded[key]

    def drop(self, port):
        """Use the server of a port no more."""
        self._flooded.pop(_settings(port)).server.stop()

    def close(self):
        for one in self._flooded.values():
            one.server.stop()


def _settings(port):
    return tuple(sorted(SPECIAL.get(port, {}).items()))


@pytest.fixture(scope="module")
def processes(places):
    """Servers in processes of their own."""
    folder, files = places
    numbers = iter(range(1000))

    def start(port, code=""):
        return ServerProcess(folder / str(next(numbers)), environ_of(port, files / "users"), code)

    servers = Servers(start)
    yield servers
    servers.close()


@pytest.fixture(scope="module")
def containers(image, places):
    """Servers in containers, each with what compose allows."""
    from tests.container.box import Box

    _, files = places
    boxes = []

    def start(port):
        environ = environ_of(port, "/run/secrets/users") | {"SMTP_TLS_PORT": str(TLS_PORT)}
        nofile = [Ulimit(name="nofile", soft=NOFILE, hard=NOFILE)]
        options = {**limits(), "ulimits": nofile, "ports": (2525, 8025, TLS_PORT)}
        options["volumes"] = {str(files): {"bind": "/run/secrets", "mode": "ro"}}
        box = Box(image, environ, **options)
        boxes.append(box)
        # A client of a server that trusts every proxy is greeted after a header only.
        box.start(is_awaited=port != "proxy")
        assert box.prixfixe("wait").code == 0
        return Contained(box, environ)

    servers = Servers(start)
    yield servers
    servers.close()
    for box in boxes:
        box.discard()


@pytest.fixture
def flood(request):
    """Play a flood on servers, keep its record, and fail with what it breaks."""

    def play(servers, row, target):
        seconds = row.seconds * (1 if request.config.getoption("--all") else SHORT)
        record = {"target": target, **servers.of(row.port).play(row, seconds)}
        record["faults"] = judge(record)
        records = request.config.stash[_records]
        records.append(record)
        EVIDENCE.parent.mkdir(exist_ok=True)
        EVIDENCE.write_text(json.dumps(records, indent=1) + "\n")
        if record["faults"]:
            servers.drop(row.port)
        assert not record["faults"], json.dumps(record, indent=1)

    return play


def rows(*short):
    """Return the table as parameters: those not `short` in one of these ways are full."""
    return [
        pytest.param(one, id=one.id, marks=[] if one.short in short else [pytest.mark.full])
        for one in table.FLOODS
    ]
