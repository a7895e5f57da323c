"""Technologies by their URLs: those that are built in, and those that other packages bring."""

from __future__ import annotations

import importlib
import os
import re
import smtplib
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from prixfixe.settings import TABLE, SettingsError, load, warnings
from prixfixe.stores import registry
from prixfixe.stores.base import StoreOpenError
from prixfixe.stores.memory import MemoryStore
from prixfixe.stores.registry import BUILT_IN, database_path, named, open_reader, open_store
from tests.conftest import PATIENCE
from tests.support.toy_stores import TOY, install
from tests.unit.test_process import process as process_fixture

process = process_fixture

ROOT = Path(__file__).parents[2]
BUILT_IN_FORMS = "sqlite:PATH, maildir:PATH, postgresql://USER@HOST/DATABASE, memory: or discard:"
URLS = {
    "sqlite": "sqlite:mail/x.db",
    "maildir": "maildir:mail",
    "postgresql": "postgresql://a@b/c",
}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder where packages are installed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.endswith("_store")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def expected(url):
    with pytest.raises(ValueError, match=" ") as caught:
        named(url)
    return str(caught.value)


def test_the_settings_name_the_forms_of_what_is_built_in():
    assert registry.forms() == BUILT_IN_FORMS
    [row] = [row for row in TABLE if row.env == "SMTP_STORE"]
    assert row.help == BUILT_IN_FORMS
    page = (ROOT / "docs" / "stores.md").read_text()
    assert re.findall(r"^\| `(\w+:[^`]*)` ", page, re.MULTILINE) == [
        named(URLS.get(each, f"{each}:")).technology.form for each in BUILT_IN
    ]


@pytest.mark.parametrize("scheme", BUILT_IN)
def test_what_is_built_in_looks_at_no_other_package(scheme, site, monkeypatch):
    install(site)
    monkeypatch.setattr("importlib.metadata.entry_points", None)
    assert named(URLS.get(scheme, f"{scheme}:")).scheme == scheme


def test_a_package_cannot_take_the_place_of_what_is_built_in(site):
    install(site)
    [entry] = site.glob("*.dist-info/entry_points.txt")
    entry.write_text("[prixfixe.stores]\nmemory = toy_store:TOY\n")
    assert named("memory:").technology.form == "memory:"


def test_settings_are_checked_without_the_code_of_a_store():
    program = (
        "import sys; from prixfixe.settings import load; load({'SMTP_STORE': sys.argv[1]})\n"
        "slow = ('sqlite3', 'asyncio', 'pathlib', 'importlib.metadata', 'prixfixe.stores.base')\n"
        "print([name for name in slow if name in sys.modules])"
    )
    for url in ("sqlite:x", "maildir:x", "memory:", "discard:"):
        command = [sys.executable, "-I", "-c", program, url]
        # Without the environment, in which coverage asks to be loaded too.
        found = subprocess.run(command, env={}, capture_output=True, text=True)
        assert found.stdout == "[]\n", (url, found.stderr)


def test_an_installed_store_is_made_by_its_technology(site):
    install(site)
    assert isinstance(open_store("toy:mail"), MemoryStore)
    with pytest.raises(StoreOpenError, match="read it over HTTP"):
        open_reader("toy:mail")
    with pytest.raises(StoreOpenError, match="'toy:mail': it lives in no file"):
        database_path("toy:mail", "copy")


def test_a_wrong_url_names_what_is_built_in_and_what_is_installed(site):
    install(site)
    every = f"{BUILT_IN_FORMS.replace(' or', ',')} or toy:NAME"
    for url in ("toy:", "toy", "tay:mail", "sqlite:", ""):
        assert expected(url) == every
        with pytest.raises(StoreOpenError, match=every):
            open_store(url)
    with pytest.raises(SettingsError, match=f"SMTP_STORE='toy:a b': expected {every}"):
        load({"SMTP_STORE": "toy:a b"})


def test_an_installed_store_says_which_settings_it_ignores_and_its_largest_message(site):
    install(site)
    environ = {"SMTP_STORE": "toy:mail", "SMTP_STORE_MIN_FREE": "1TiB"}
    with pytest.raises(SettingsError, match="at most 5000000 with a toy: store"):
        load(environ)
    environ["SMTP_MAX_MESSAGE_SIZE"] = "5000000"
    assert warnings(environ, load(environ)) == [
        "SMTP_STORE_MIN_FREE has no effect: a toy: store writes to no disk"
    ]


@pytest.mark.parametrize(
    ("source", "offer", "why"),
    [
        ("import not_there", "TOY", "that can be loaded; toy_store:TOY: ModuleNotFoundError: "),
        (TOY, "TYO", "that can be loaded; toy_store:TYO: AttributeError: "),
        ("TOY = dict", "TOY", "that is a prixfixe.stores.technology.Technology; toy_store:TOY"),
    ],
    ids=["breaks", "is not there", "is something else"],
)
def test_a_store_that_cannot_be_used_is_an_error_that_says_why(site, source, offer, why):
    install(site, source, offer=offer)
    assert expected("toy:mail").startswith(f"a store {why}")
    assert expected("x:").endswith(", discard: or toy: (which cannot be loaded)")
    assert named("memory:")


def test_a_scheme_of_two_packages_is_refused(site):
    install(site)
    install(site, name="tin")
    assert expected("toy:mail").endswith("toy: is of tin_store:TOY and toy_store:TOY")


def test_a_server_serves_with_an_installed_store(process, tmp_path):
    install(tmp_path)
    server = process(
        SMTP_STORE="toy:mail", SMTP_MAX_MESSAGE_SIZE="1MB", PYTHONPATH=str(tmp_path)
    ).ready()
    assert server.store == "toy:mail"
    with smtplib.SMTP("127.0.0.1", server.port, timeout=PATIENCE) as client:
        client.sendmail("a@example.com", "b@example.org", "Subject: toys\r\n\r\nhi")
    address = f"http://{server.http}/api/v1/message/latest/raw"
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
        assert b"Subject: toys" in answer.read()
    assert server.end() == 0


# --- the contract, as another package runs it


def contract(site, source):
    """Run the document's example of a test over a store; return what pytest said."""
    install(site, source)
    page = (ROOT / "docs" / "stores.md").read_text()
    example = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[-1]
    (site / "test_toy.py").write_text(example)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", site, site],
        cwd=site,
        env=os.environ | {"PYTHONPATH": str(site), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_another_package_runs_the_contract_with_pytest_alone(tmp_path):
    done = contract(tmp_path, TOY)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d\d passed", done.stdout, re.MULTILINE)


FORGETFUL = TOY.replace(
    "    return MemoryStore(options)",
    """
    class Forgetful(MemoryStore):
        async def delete(self, ids):
            return 0
    return Forgetful(options)""",
)


def test_the_contract_finds_a_store_that_breaks_it_and_shows_the_values(tmp_path):
    done = contract(tmp_path, FORGETFUL)
    failed = set(re.findall(r"^FAILED \S+::(\w+)", done.stdout, re.MULTILINE))
    assert failed == {
        "test_totals_follow_puts_and_deletes",
        "test_delete_waits_its_turn_behind_puts",
    }
    assert "assert 0 == 30" in done.stdout
