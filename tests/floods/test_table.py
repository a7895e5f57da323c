"""The table of floods is whole: ids, sources, and every kind of input on the ports that take it."""

import json
import re
import socket
import threading

import pytest

from tests.floods import driver
from tests.floods.play import judge
from tests.floods.table import FLOODS, KINDS, PORTS

GOOD = {
    "died": "",
    "failures": [],
    "port": "http",
    "worst_ms": 10.0,
    "livez_worst_ms": 10.0,
    "rss_peak_mib": 60.0,
    "allowed_mib": 70.0,
    "lost": 0,
    "acknowledged": 9,
    "left": [],
    "is_ready": True,
    "errors": 0,
    "inside": 95,
}
BAD = {
    "died": ("killed for its memory", "the server killed"),
    "failures": (["smtp: TimeoutError()"], "an honest client"),
    "worst_ms": (251.0, "mail was answered after 251.0 ms"),
    "livez_worst_ms": (None, "livez was answered after None ms"),
    "rss_peak_mib": (71.0, "memory: 71.0 MiB"),
    "lost": (1, "lost: 1 of 9"),
    "left": (["sessions=3"], "left behind: sessions=3"),
    "is_ready": (False, "not ready"),
    "errors": (2, "2 tracebacks"),
    "inside": (0, "no connection"),
}


def test_ids_are_unique_and_of_one_form():
    ids = [one.id for one in FLOODS]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"PF-FLD-\d{3}", one) for one in ids)


def test_every_source_is_a_promise_and_a_section():
    assert all(re.fullmatch(r"P\d, (RFC \d+|PROXY) [\d.]+", one.source) for one in FLOODS)


def test_every_port_and_every_kind_is_flooded():
    assert {one.port for one in FLOODS} == set(PORTS)
    assert {one.kind for one in FLOODS} == set(KINDS)


@pytest.mark.parametrize("port", PORTS)
def test_the_default_run_floods_every_port(port):
    assert [one for one in FLOODS if one.port == port and one.short]


def test_a_record_of_a_flood_that_was_held_has_no_faults():
    assert judge(GOOD) == []


@pytest.mark.parametrize("name", BAD)
def test_each_figure_can_break_its_promise(name):
    value, told = BAD[name]
    (fault,) = judge(GOOD | {name: value})
    assert told in fault


def test_floods_go_to_this_machine_alone():
    with pytest.raises(ValueError, match=r"192\.0\.2\.1 is not a loopback address"):
        driver.main(json.dumps({"address": ["192.0.2.1", 25]}))


def test_the_driver_sends_what_the_row_says(capfd):
    """A server of three answers: the opening is said step by step, then the repeated text comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        spec = FLOODS[0]._asdict() | {"address": server.getsockname(), "tls": False, "bigs": []}
        spec |= {"connections": 1, "seconds": 1.0, "octets": 60}
        heard = serve_once(server, lambda: driver.main(json.dumps(spec)))
    assert heard.startswith(b"EHLO flood.test\r\nNOOP\r\nNOOP\r\n")
    first, counts = map(json.loads, capfd.readouterr().out.splitlines())
    assert (first["inside"], counts["opened"], counts["refused"]) == (1, 1, 0)


def serve_once(server, play):
    """Play, and return what the one client said to a server that greets and agrees."""
    heard = []

    def serve():
        client, _ = server.accept()
        with client:
            client.sendall(b"220 here\r\n")
            heard.append(client.recv(1000))
            client.sendall(b"250 well\r\n")
            while octets := client.recv(65536):
                heard.append(octets)

    thread = threading.Thread(target=serve)
    thread.start()
    play()
    thread.join(10)
    return b"".join(heard)
