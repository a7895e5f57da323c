"""The proxy that stands for a network which is cut."""

from __future__ import annotations

import socket

from tests.support.wire_cut import Wire

TIMEOUT = 30.0


def test_a_client_that_gives_up_while_the_wire_is_cut_never_arrives():
    with socket.create_server(("127.0.0.1", 0)) as target:
        target.settimeout(TIMEOUT)
        with Wire(target.getsockname()[1]) as wire:
            wire.cut()
            for _ in range(10):
                with socket.create_connection(("127.0.0.1", wire.port)) as impatient:
                    impatient.sendall(b"gone")
            with socket.create_connection(("127.0.0.1", wire.port)) as patient:
                patient.sendall(b"here")
                wire.mend()
                arrived, _ = target.accept()
                with arrived:
                    arrived.settimeout(TIMEOUT)
                    assert arrived.recv(4) == b"here"
