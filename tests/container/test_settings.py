"""Every setting is respected in the container, and every wrong one refused with its name."""

import json
import ssl

import pytest
import trustme

from prixfixe.auth.hashes import hash_password
from prixfixe.settings import TABLE
from tests.container.box import PYTHON
from tests.container.settings_cases import PASSWORD, RESPECTED, USER
from tests.unit.test_settings import TOGETHER, WRONG

KEY = "/run/secrets/key.pem"
# The program without the variables that the image sets.
BARE = """
import os, sys
for name in list(os.environ):
    if name.startswith("SMTP_"):
        del os.environ[name]
from prixfixe.cli.main import main
sys.exit(main())
"""


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


REFUSER = b"""
class Refuser:
    async def handle_RCPT(self, server, session, envelope, address, options):
        return "550 5.7.1 no"
"""


@pytest.fixture(scope="session")
def secrets(authority, tmp_path_factory):
    """A folder of files that settings name, as the option that mounts it."""
    folder = tmp_path_factory.mktemp("secrets")
    issued = authority.issue_cert("localhost")
    files = {
        "cert.pem": b"".join(one.bytes() for one in issued.cert_chain_pems),
        "key.pem": issued.private_key_pem.bytes(),
        "users": f"{USER}:{hash_password(PASSWORD)}\n".encode(),
        "domain": b"from.file.example\n",
        "token": b"secret-token\n",
        "empty": b"",
        "rubbish": bytes(range(256)),
        "refuser.py": REFUSER,
    }
    for name, octets in files.items():
        (folder / name).write_bytes(octets)
        (folder / name).chmod(0o644)  # it is read by user 1000
    folder.chmod(0o755)
    for parent in list(folder.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    return {"volumes": {str(folder): {"bind": "/run/secrets", "mode": "ro"}}}


@pytest.fixture
def trust(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_every_setting_has_a_row():
    """Whoever adds a setting adds a check of it here."""
    assert RESPECTED.keys() == {setting.env for setting in TABLE}


@pytest.mark.parametrize("name", RESPECTED)
def test_a_setting_is_respected(start, secrets, trust, name):
    row = RESPECTED[name]
    assert name in row.environ
    row.check(start(row.environ, **secrets, **row.options), trust)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_stops_the_start_and_is_named(run_once, name):
    value, expected = WRONG[name]
    ended = run_once(environ={name: value})
    shown = "(hidden)" if name == "SMTP_HTTP_TOKEN" else repr(value)
    assert ended.code == 2, ended
    assert f"{name}={shown}: expected " in ended.err
    assert expected in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""


@pytest.mark.parametrize(("variables", "expected"), TOGETHER.values(), ids=TOGETHER)
def test_settings_that_do_not_fit_together_stop_the_start(run_once, variables, expected):
    ended = run_once(environ=variables)
    assert ended.code == 2, ended
    assert expected in ended.err


@pytest.mark.parametrize(
    ("name", "environ"),
    [
        ("SMTP_TLS_CERT", {"SMTP_TLS_CERT": "/nowhere", "SMTP_TLS_KEY": KEY}),
        ("SMTP_TLS_CERT", {"SMTP_TLS_CERT": "/run/secrets/rubbish", "SMTP_TLS_KEY": KEY}),
        ("SMTP_TLS_KEY", {"SMTP_TLS_CERT": "/run/secrets/cert.pem", "SMTP_TLS_KEY": "/nowhere"}),
        ("SMTP_AUTH_USERS", {"SMTP_AUTH_USERS": "/nowhere"}),
        ("SMTP_AUTH_USERS", {"SMTP_AUTH_USERS": "/run/secrets/empty"}),
        ("SMTP_AUTH_USERS", {"SMTP_AUTH_USERS": "/run/secrets/rubbish"}),
    ],
)
def test_a_file_that_cannot_be_used_stops_the_start(run_once, secrets, name, environ):
    login = {"SMTP_AUTH": "required", "SMTP_AUTH_INSECURE": "true"}
    ended = run_once(
        environ={**(login if "SMTP_AUTH_USERS" in environ else {}), **environ}, **secrets
    )
    assert ended.code == 2, ended
    assert name in ended.err
    assert "Traceback" not in ended.err


def test_everything_wrong_is_told_at_once(run_once):
    ended = run_once(environ={name: value for name, (value, _) in WRONG.items()})
    assert ended.code == 2
    assert [name for name in WRONG if f"{name}=" not in ended.err] == []


def test_an_unknown_setting_stops_the_start_and_names_the_nearest(run_once):
    ended = run_once(environ={"SMTP_MAX_CONNECTION": "5", "SMTP_TIMEOUT": "soon"})
    assert ended.code == 2
    assert "SMTP_TIMEOUT='soon': expected" in ended.err
    assert "expected a setting's name; did you mean SMTP_MAX_CONNECTIONS?" in ended.err


def test_the_names_of_a_service_of_kubernetes_do_not_stop_the_start(start):
    assert start({"SMTP_SERVICE_HOST": "10.0.0.1", "SMTP_PORT_25_TCP_ADDR": "10.0.0.1"})


def test_the_defaults_in_the_image_are_those_of_the_table(run_once):
    """But for two, which the image sets: where mail is kept, and HTTP for all addresses."""
    told = json.loads(run_once("config", "--json").out)
    defaults = json.loads(run_once("-IBc", BARE, "config", "--json", entrypoint=[PYTHON]).out)
    changed = {name for name, row in told.items() if row["value"] != defaults[name]["value"]}
    assert changed == {"SMTP_STORE", "SMTP_HTTP_BIND"}
    assert {name for name, row in told.items() if row["source"] != "default"} == changed
    assert told["SMTP_STORE"]["value"] == "sqlite:/var/mail/prixfixe.db"
    assert told.keys() == {setting.env for setting in TABLE}


def test_a_value_can_come_from_a_file(start, secrets):
    box = start(
        {"SMTP_DOMAIN_FILE": "/run/secrets/domain", "SMTP_HTTP_TOKEN_FILE": "/run/secrets/token"},
        **secrets,
    )
    with box.connect() as wire:
        assert wire.reply().startswith(b"220 from.file.example ")
    assert box.http("/api/v1/messages").status == 401
    assert box.http("/api/v1/messages", Authorization="Bearer secret-token").status == 200
    told = json.loads(box.prixfixe("config", "--json").output)
    assert told["SMTP_DOMAIN"] == {"value": "from.file.example", "source": "/run/secrets/domain"}
    assert "secret-token" not in json.dumps([told, box.container.attrs])


def test_a_value_and_its_file_at_once_stop_the_start(run_once, secrets):
    both = {"SMTP_DOMAIN": "a.test", "SMTP_DOMAIN_FILE": "/run/secrets/domain"}
    ended = run_once(environ=both, **secrets)
    assert ended.code == 2
    assert "SMTP_DOMAIN_FILE='/run/secrets/domain': expected only one of it and SMTP_DOMAIN" in (
        ended.err
    )


def test_a_file_that_is_not_there_stops_the_start(run_once):
    ended = run_once(environ={"SMTP_DOMAIN_FILE": "/run/secrets/none"})
    assert ended.code == 2
    assert "SMTP_DOMAIN_FILE='/run/secrets/none': expected a file that can be read" in ended.err
