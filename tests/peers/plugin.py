"""The pytest plugin with which aiosmtpd's tests run: our engine, and replies compared by code.

It notes for each test how many connections our engine served, and writes that as JSON.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import socket
import sys
import types
from pathlib import Path

import pytest

served = {"now": 0}
current = {"module": ""}
notes: dict[str, dict[str, object]] = {}


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _stand_in_for_pkg_resources() -> None:
    """Give the tests the one function that they use of a package that is gone."""
    module = types.ModuleType("pkg_resources")
    module.resource_filename = lambda package, name: str(importlib.resources.files(package) / name)
    sys.modules.setdefault("pkg_resources", module)


def _install() -> None:
    from aiosmtpd.controller import BaseController, InetMixin
    from aiosmtpd.testing.statuscodes import StatusCode

    from prixfixe.handlers import install

    install()
    ours = BaseController._factory_invoker

    def counting(controller):
        served["now"] += 1
        return ours(controller)

    BaseController._factory_invoker = counting
    # The tests listen on ports that are always the same; here other tests run at the same time.
    ports = {8025: _free_port(), 9025: _free_port()}
    initialise = InetMixin.__init__

    def on_free_ports(controller, handler, hostname=None, port=8025, *args, **kwargs):
        initialise(controller, handler, hostname, ports.get(port, port), *args, **kwargs)

    InetMixin.__init__ = on_free_ports
    # A reply's wording is aiosmtpd's own; its code is the protocol's.
    StatusCode.__eq__ = lambda self, other: isinstance(other, tuple) and self[0] == other[0]
    StatusCode.__ne__ = lambda self, other: not StatusCode.__eq__(self, other)
    StatusCode.__hash__ = lambda self: hash(self[0])


_stand_in_for_pkg_resources()
_install()


def _name(nodeid):
    """Return `module::Class::test[parameters]`, wherever the tests are."""
    return f"{current['module']}::{nodeid.partition('::')[2]}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    served["now"] = 0
    current["module"] = item.path.stem
    yield
    notes.setdefault(_name(item.nodeid), {})["served"] = served["now"]


def pytest_runtest_logreport(report):
    name = _name(report.nodeid)
    note = notes.setdefault(name, {})
    if report.outcome == "failed":
        note["outcome"] = "failed"
        note.setdefault("reason", str(report.longrepr)[-2000:])
    elif report.when == "call" or report.outcome == "skipped":
        note.setdefault("outcome", report.outcome)


def pytest_sessionfinish():
    Path(os.environ["PEERS_REPORT"]).write_text(json.dumps(notes, indent=1), encoding="utf-8")
