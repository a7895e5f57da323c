"""Mailpit's variables as settings, and a server that was started with them."""

import re
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest

from prixfixe.auth.users_file import read_users
from prixfixe.cli import mailpit
from prixfixe.cli.mailpit import take_mailpit, translated
from prixfixe.settings import SettingsError, load
from prixfixe.tls.certificates import Certificates
from tests.support.script_runner import clean_environ


def settings(**environ):
    return load({**environ, **translated(environ).settings} | {"SMTP_STORE": "memory:"})


def test_without_a_variable_it_has_the_ports_of_mailpit():
    found = settings()
    assert (found.port, found.http_port, found.bare_lf) == (1025, 8025, "accept")
    assert found.tls == "auto"
    assert settings(SMTP_PORT="25").port == 25


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        ("MP_SMTP_BIND_ADDR", "127.0.0.1:26", "port", 26),
        ("MP_SMTP_BIND_ADDR", "127.0.0.1:26", "bind", "127.0.0.1"),
        ("MP_SMTP_BIND_ADDR", "[::]:26", "bind", ""),
        ("MP_UI_BIND_ADDR", "0.0.0.0:81", "http_port", 81),
        ("MP_UI_BIND_ADDR", "0.0.0.0:81", "http_bind", ""),
        ("MP_MAX_MESSAGES", "7", "store_max_messages", 7),
        ("MP_MAX_AGE", "2h", "store_max_age", 7200),
        ("MP_SMTP_MAX_RECIPIENTS", "5", "max_recipients", 5),
        ("MP_ENABLE_CHAOS", "true", "faults", True),
        ("MP_ENABLE_CHAOS", "0", "faults", False),
        ("MP_SMTP_AUTH_ACCEPT_ANY", "1", "auth", "any"),
        ("MP_SMTP_AUTH_ACCEPT_ANY", "1", "auth_insecure", True),
        ("MP_SMTP_AUTH_ACCEPT_ANY", "0", "auth", "off"),
        ("MP_SMTP_AUTH", "jane:secret", "auth", "required"),
        ("MP_VERBOSE", "yes", "log_level", "debug"),
        ("MP_QUIET", "true", "log_level", "warning"),
    ],
)
def test_each_variable_means_what_it_means_there(name, value, attribute, expected):
    assert getattr(settings(**{name: value}), attribute) == expected


def test_users_come_in_clear_or_as_bcrypt():
    hashed = "$2y$10$" + "a" * 53
    found = settings(MP_SMTP_AUTH=f"jane:secret ron:{hashed}")
    users = read_users(found.auth_users)
    assert users.find("jane").matches(b"secret")
    assert not users.find("jane").matches(b"wrong")
    assert users.find("ron") is not None


def test_users_come_from_a_file(tmp_path):
    (tmp_path / "users").write_text("jane:secret\nron:pass2\n")
    found = settings(MP_SMTP_AUTH_FILE=str(tmp_path / "users"))
    assert read_users(found.auth_users).find("ron").matches(b"pass2")


def test_a_certificate_is_made_for_names():
    found = settings(MP_SMTP_TLS_CERT="sans:localhost,mail.test")
    names = Certificates(found.tls_cert, found.tls_key).info.names
    assert {"localhost", "mail.test"} <= set(names)


def test_tls_from_the_first_byte_is_on_the_same_port():
    pair = {"MP_SMTP_TLS_CERT": "sans:localhost"}
    found = settings(MP_SMTP_REQUIRE_TLS="1", **pair)
    assert (found.tls_port, found.port, found.tls) == (1025, 2525, "required")
    found = settings(MP_SMTP_REQUIRE_TLS="1", MP_SMTP_BIND_ADDR=":2525", **pair)
    assert (found.tls_port, found.port) == (2525, 1025)
    found = settings(MP_SMTP_REQUIRE_STARTTLS="1", **pair)
    assert (found.tls_port, found.port, found.tls) == (None, 1025, "required")


def test_what_there_is_nothing_for_is_a_remark():
    notes = translated({"MP_WEBROOT": "x", "MP_SMTP_DISABLE_RDNS": "1", "OTHER": "x"}).notes
    assert notes == ["MP_WEBROOT has no effect: PrixFixe has nothing like it"]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"MP_UI_AUTH": "a:b"}, "MP_UI_AUTH=(hidden): expected no such variable: set SMTP_HTTP_TO"),
        ({"MP_ENABLE_CHAOS": "maybe"}, "MP_ENABLE_CHAOS='maybe': expected true or false"),
        ({"MP_SMTP_BIND_ADDR": "1025"}, "MP_SMTP_BIND_ADDR='1025': expected HOST:PORT"),
        ({"MP_SMTP_AUTH": "jane"}, "MP_SMTP_AUTH=(hidden): expected USER:PASSWORD"),
        ({"MP_SMTP_AUTH_FILE": "/none"}, "MP_SMTP_AUTH_FILE='/none': expected a file that can be"),
        ({"MP_SMTP_TLS_CERT": "sans:"}, "MP_SMTP_TLS_CERT='sans:': expected sans:NAME"),
        (
            {"MP_SMTP_AUTH": "a:b", "MP_SMTP_AUTH_ACCEPT_ANY": "1"},
            "MP_SMTP_AUTH_ACCEPT_ANY='true': expected users or every login, not both",
        ),
    ],
)
def test_a_wrong_value_is_told(environ, expected):
    with pytest.raises(SettingsError) as caught:
        translated(environ)
    assert expected in str(caught.value)


def test_root_reads_the_certificate_and_gives_up_its_rights(tmp_path, monkeypatch):
    became = []
    monkeypatch.setattr(mailpit.os, "geteuid", lambda: 0)
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(mailpit.os, name, lambda value, name=name: became.append((name, value)))
    (tmp_path / "cert.pem").write_text("a certificate")
    files = {"MP_SMTP_TLS_CERT": str(tmp_path / "cert.pem"), "MP_SMTP_TLS_KEY": "/none"}
    environ = {"PRIXFIXE_USER": "1000", **files}
    assert take_mailpit(environ, is_server=True) == []
    assert became == [("setgroups", []), ("setgid", 1000), ("setuid", 1000)]
    assert Path(environ["SMTP_TLS_CERT"]).read_text() == "a certificate"
    assert environ["SMTP_TLS_KEY"] == "/none"

    def refuse(_value):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(mailpit.os, "setuid", refuse)
    [note] = take_mailpit({"PRIXFIXE_USER": "1000"}, is_server=True)
    assert note.endswith("the server stays root (Operation not permitted)")
    became.clear()
    assert take_mailpit({"PRIXFIXE_USER": "1000"}, is_server=False) == []
    assert take_mailpit({}, is_server=True) == []
    assert became == []


def test_secrets_are_in_a_file_where_there_are_none_in_memory(monkeypatch):
    monkeypatch.delattr(mailpit.os, "memfd_create")
    path = Path(settings(MP_SMTP_AUTH="jane:secret").auth_users)
    assert path.stat().st_mode & 0o77 == 0
    path.unlink()


def start(**environ):
    command = [sys.executable, "-m", "prixfixe", "serve"]
    fixed = {"PRIXFIXE_MAILPIT": "1", "SMTP_STORE": "memory:", "SMTP_LOG_FORMAT": "json"}
    return subprocess.Popen(
        command, env=clean_environ() | fixed | environ, stdout=subprocess.PIPE, text=True
    )


def test_a_server_tells_its_address_when_all_is_bound():
    with start(
        MP_SMTP_BIND_ADDR="127.0.0.1:0", MP_UI_BIND_ADDR="127.0.0.1:0", MP_NEWS="1"
    ) as server:
        try:
            lines = [server.stdout.readline()]
            while "accessible via" not in lines[-1]:
                assert lines[-1]
                lines.append(server.stdout.readline())
            port = int(re.search(r"smtp=127\.0\.0\.1:(\d+) ", lines[0])[1])
            http = re.search(r"http=(\S+) ", lines[0])[1]
            assert f"accessible via http://{http}/" in lines[-1]
            assert "MP_NEWS has no effect" in "".join(lines)
            smtplib.SMTP("127.0.0.1", port, local_hostname="t").quit()
        finally:
            server.terminate()
        assert server.wait(20) == 0


def test_a_wrong_variable_stops_the_start():
    command = [sys.executable, "-m", "prixfixe", "serve"]
    environ = clean_environ() | {"PRIXFIXE_MAILPIT": "1", "MP_UI_AUTH": "a:b"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert (done.returncode, "MP_UI_AUTH=(hidden)" in done.stderr) == (2, True)
