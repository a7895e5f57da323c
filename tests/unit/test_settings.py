import contextlib
import dataclasses
import re
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.settings import (
    PREFIX,
    TABLE,
    Settings,
    SettingsError,
    dotenv,
    example,
    load,
    plain,
    show,
    sources,
    warnings,
)
from prixfixe.settings import parse as units
from prixfixe.stores.sqlite.technology import TECHNOLOGY as SQLITE

# variable: (wrong value, words of what was expected)
WRONG = {
    "SMTP_DOMAIN": ("a b", "a host name"),
    "SMTP_BIND": ("nowhere", "an IP address"),
    "SMTP_PORT": ("65536", "a port from 0 to 65535"),
    "SMTP_MAX_CONNECTIONS": ("0", "at least 1"),
    "SMTP_MAX_CONNECTIONS_PER_IP": ("-1", "at least 0"),
    "SMTP_MAX_CONNECTION_RATE": ("x", "a whole number"),
    "SMTP_MAX_MESSAGE_SIZE": ("10 apples", "a size such as 10MiB"),
    "SMTP_MAX_RECIPIENTS": ("1.5", "a whole number"),
    "SMTP_MAX_ERRORS": ("", "a whole number"),
    "SMTP_MAX_MESSAGES": ("-1", "at least 0"),
    "SMTP_MAX_SESSION_TIME": ("long", "a duration"),
    "SMTP_MIN_DATA_RATE": ("fast", "a size"),
    "SMTP_STRESS_TIMEOUT": ("-5", "a duration"),
    "SMTP_STORE_TIMEOUT": ("0", "at least 0.1"),
    "SMTP_STORE_QUORUM": ("-1", "a whole number"),
    "SMTP_MAX_INFLIGHT": ("1KB", "at least 1024"),
    "SMTP_TIMEOUT": ("soon", "a duration such as 30s"),
    "SMTP_SHUTDOWN_TIMEOUT": ("-1", "a duration"),
    "SMTP_RECIPIENTS": ("example.com", "@example.com or user@example.com"),
    "SMTP_STRICT": ("maybe", "true or false"),
    "SMTP_FAULTS": ("perhaps", "true or false"),
    "SMTP_HANDLER": ("module.Class", "package.module:Class"),
    "SMTP_BARE_LF": ("yes", "one of refuse, accept"),
    "SMTP_TLS": ("on", "one of off, auto, required"),
    "SMTP_TLS_PORT": ("x", "off or a port"),
    "SMTP_TLS_MIN_VERSION": ("1.1", "one of 1.2, 1.3"),
    "SMTP_AUTH": ("yes", "one of off, optional, required, any"),
    "SMTP_AUTH_INSECURE": ("2", "true or false"),
    "SMTP_AUTH_MAX_FAILURES": ("-1", "at least 0"),
    "SMTP_AUTH_LOCKOUT_TIME": ("long", "a duration"),
    "SMTP_PROXY_PROTOCOL": ("10.0.0.1/8", "networks such as"),
    "SMTP_STORE": ("sqlite:", "sqlite:PATH"),
    "SMTP_STORE_MAX_MESSAGES": ("many", "a whole number"),
    "SMTP_STORE_MAX_AGE": ("old", "a duration"),
    "SMTP_STORE_MIN_FREE": ("x", "a size"),
    "SMTP_HTTP_BIND": ("x", "an IP address"),
    "SMTP_HTTP_PORT": ("99999", "off or a port"),
    "SMTP_HTTP_TOKEN": ("two words", "printable ASCII without spaces"),
    "SMTP_HTTP_HOSTS": ("mail.example.com:80", "names such as"),
    "SMTP_HTTP_UI": ("perhaps", "true or false"),
    "SMTP_LOG_LEVEL": ("loud", "one of debug"),
    "SMTP_LOG_ADDRESSES": ("some", "one of full, domain, none"),
    "SMTP_LOG_FORMAT": ("xml", "one of text, json"),
}
# name: (variable, wrong value, words of what was expected)
ODD = {
    "store of no known kind": ("SMTP_STORE", "nats://a:4222", "sqlite:PATH, maildir:PATH"),
    "sqlite in memory is not durable": ("SMTP_STORE", "sqlite::memory:", "memory:"),
    "memory has no path": ("SMTP_STORE", "memory:x", "memory:"),
    "scheme without colon": ("SMTP_STORE", "sqlite", "sqlite:PATH"),
    "path with a control character": ("SMTP_STORE", "sqlite:a\x00b", "sqlite:PATH"),
    "kubernetes service link": ("SMTP_PORT", "tcp://10.0.0.1:25", "enableServiceLinks: false"),
    "the same for http": ("SMTP_HTTP_PORT", "tcp://10.0.0.1:25", "off or a port"),
    "negative port": ("SMTP_PORT", "-1", "a port from 0 to 65535"),
    "digits of another script": ("SMTP_PORT", "\u0662\u0665", "a port from 0 to 65535"),
    "size without bound": ("SMTP_MAX_MESSAGE_SIZE", "999999999999TiB", "at most 1EiB"),
    "size above the largest": ("SMTP_STORE_MIN_FREE", "10EiB", "at most 1EiB"),
    "duration without bound": ("SMTP_TIMEOUT", "36501d", "at most 36500d"),
    "no time at all": ("SMTP_TIMEOUT", "0", "at least 0.1"),
    "not a number": ("SMTP_TIMEOUT", "nan", "a duration"),
    "domain with an open bracket": ("SMTP_DOMAIN", "[127.0.0.1", "a host name"),
    "literal that is no address": ("SMTP_DOMAIN", "[300.0.0.1]", "an address literal"),
    "label of 64": ("SMTP_DOMAIN", "a" * 64, "a host name"),
    "recipient in brackets": ("SMTP_RECIPIENTS", "<a@b.test>", "user@example.com"),
    "recipient with a source route": ("SMTP_RECIPIENTS", "@r.test:a@b.test", "user@example.com"),
    "second recipient": ("SMTP_RECIPIENTS", "@a.test, nobody", "not 'nobody'"),
    "null recipient": ("SMTP_RECIPIENTS", "@", "user@example.com"),
    "network with host bits": ("SMTP_PROXY_PROTOCOL", "::1, 10.0.0.1/8", "not '10.0.0.1/8'"),
}
TOGETHER = {
    "tls required without certificate": ({"SMTP_TLS": "required"}, "SMTP_TLS_CERT"),
    "tls port without certificate": ({"SMTP_TLS_PORT": "465"}, "SMTP_TLS_CERT"),
    "certificate without key": ({"SMTP_TLS_CERT": "x.pem"}, "SMTP_TLS_KEY"),
    "key without certificate": ({"SMTP_TLS_KEY": "x.pem"}, "SMTP_TLS_CERT"),
    "one port twice": (
        {"SMTP_TLS_CERT": "self-signed", "SMTP_TLS_PORT": "2525"},
        "another port than SMTP_PORT",
    ),
    "http on the SMTP port": ({"SMTP_HTTP_PORT": "2525"}, "another port"),
    "auth without users": (
        {"SMTP_AUTH": "required", "SMTP_AUTH_INSECURE": "1"},
        "SMTP_AUTH_USERS",
    ),
    "auth in clear": ({"SMTP_AUTH": "any"}, "SMTP_AUTH_INSECURE=true"),
    "budget below one message": (
        {"SMTP_MAX_INFLIGHT": "1MiB"},
        "at least SMTP_MAX_MESSAGE_SIZE (10485760)",
    ),
    "more than SQLite keeps": (
        {"SMTP_MAX_MESSAGE_SIZE": "900000001", "SMTP_MAX_INFLIGHT": "1GB"},
        "at most 900000000 with a sqlite: store",
    ),
}


def test_what_sqlite_is_said_to_keep_is_below_its_limit():
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        limit = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
    assert limit - 50_000_000 > SQLITE.max_message_bytes
    others = {"SMTP_STORE": "maildir:mail", "SMTP_MAX_INFLIGHT": "1GB"}
    assert load({"SMTP_MAX_MESSAGE_SIZE": "900000001", **others})


def test_defaults_are_the_interface(settings):
    effective = load({})
    assert (effective.port, effective.http_port, effective.http_bind) == (2525, 8025, "127.0.0.1")
    assert effective.max_message_size == 10_485_760
    assert effective.store == "sqlite:mail/prixfixe.db"


@pytest.mark.parametrize("name", WRONG)
def test_wrong_setting_is_named_with_value_and_expectation(name):
    value, expected = WRONG[name]
    with pytest.raises(SettingsError) as caught:
        load({name: value})
    assert [problem.name for problem in caught.value.problems] == [name]
    shown = "(hidden)" if name == "SMTP_HTTP_TOKEN" else repr(value)
    assert f"{name}={shown}: expected " in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(("name", "value", "expected"), ODD.values(), ids=ODD)
def test_odd_value_is_refused(name, value, expected):
    with pytest.raises(SettingsError) as caught:
        load({name: value})
    assert f"{name}={value!r}: expected " in str(caught.value)
    assert expected in caught.value.problems[0].expected


def test_every_setting_that_can_be_wrong_has_a_case():
    free_text = {
        "SMTP_TLS_CERT",
        "SMTP_TLS_KEY",
        "SMTP_AUTH_USERS",
        "SMTP_HANDLER_PATH",
    }
    assert {setting.env for setting in TABLE} == WRONG.keys() | free_text


def test_all_problems_come_at_once():
    with pytest.raises(SettingsError) as caught:
        load({name: value for name, (value, _) in WRONG.items()})
    assert {problem.name for problem in caught.value.problems} == WRONG.keys()


def test_wrong_combination_is_told_beside_a_wrong_value():
    with pytest.raises(SettingsError) as caught:
        load({"SMTP_PORT": "x", "SMTP_TLS": "required"})
    assert [problem.name for problem in caught.value.problems] == ["SMTP_PORT", "SMTP_TLS"]


def test_wrong_value_is_not_judged_twice():
    with pytest.raises(SettingsError) as caught:
        load({"SMTP_TLS": "required", "SMTP_TLS_CERT_FILE": "/nowhere"})
    assert [problem.name for problem in caught.value.problems] == ["SMTP_TLS_CERT_FILE"]


def test_long_value_is_shown_in_part():
    with pytest.raises(SettingsError) as caught:
        load({"SMTP_PORT": "9" * 100_000})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("variables", "expected"), TOGETHER.values(), ids=TOGETHER)
def test_settings_that_do_not_fit_together(variables, expected):
    with pytest.raises(SettingsError, match=r"expected .*") as caught:
        load(variables)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "variables",
    [
        {"SMTP_AUTH": "any", "SMTP_AUTH_INSECURE": "true"},
        {"SMTP_AUTH": "any", "SMTP_TLS_CERT": "self-signed"},
        {
            "SMTP_AUTH": "required",
            "SMTP_AUTH_USERS": "users",
            "SMTP_TLS": "off",
            "SMTP_TLS_CERT": "self-signed",
            "SMTP_TLS_PORT": "0",
        },
        {"SMTP_PORT": "0", "SMTP_HTTP_PORT": "0"},
        {"SMTP_HTTP_PORT": "off", "SMTP_TLS_CERT": "c.pem", "SMTP_TLS_KEY": "k.pem"},
        {"SMTP_DOMAIN": "[IPv6:::1]"},
        {"SMTP_DOMAIN": "[127.0.0.1]"},
    ],
    ids=" ".join,
)
def test_settings_that_fit_together(variables):
    load(variables)


def test_a_file_gives_the_value(tmp_path):
    file = tmp_path / "token"
    file.write_text("secret\n")
    effective = load({"SMTP_HTTP_TOKEN_FILE": str(file)})
    assert effective.http_token == "secret"
    assert "secret" not in repr(effective)
    assert sources({"SMTP_HTTP_TOKEN_FILE": str(file)}, {})["SMTP_HTTP_TOKEN"] == str(file)


def test_a_file_loses_one_line_end_only():
    read = {"f": "localhost\n\n", "g": "10MiB\r\n"}.__getitem__
    assert load({"SMTP_DOMAIN_FILE": "f", "SMTP_MAX_MESSAGE_SIZE_FILE": "g"}, read) == load({})


def test_a_file_may_hold_a_list_of_lines(tmp_path):
    file = tmp_path / "recipients"
    file.write_text("@a.test\nb@c.test\n\n")
    assert load({"SMTP_RECIPIENTS_FILE": str(file)}).recipients == ("@a.test", "b@c.test")


def test_every_setting_has_a_file_variant(tmp_path):
    for setting in TABLE:
        file = tmp_path / setting.env
        file.write_text(setting.default + "\n")
    variables = {f"{row.env}_FILE": str(tmp_path / row.env) for row in TABLE if row.default}
    assert load(variables) == load({})


def test_a_file_that_is_not_text_is_an_error(tmp_path):
    file = tmp_path / "token"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8 text"):
        load({"SMTP_HTTP_TOKEN_FILE": str(file)})


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SMTP_DOMAIN_FILE": "/nowhere/at/all"}, "No such file"),
        ({"SMTP_DOMAIN_FILE": ""}, "No such file"),
        ({"SMTP_DOMAIN_FILE": "/"}, "Is a directory"),
        ({"SMTP_DOMAIN_FILE": "/dev/zero"}, "not a regular file"),
        ({"SMTP_DOMAIN_FILE": "/dev/null", "SMTP_DOMAIN": "a"}, "only one of"),
        ({"SMTP_HTTP_TOKEN_FILE": "/dev/null"}, "not a regular file"),
    ],
    ids=["missing", "no path", "folder", "endless", "both", "device"],
)
def test_a_bad_file_is_an_error(variables, expected):
    with pytest.raises(SettingsError) as caught:
        load(variables)
    assert expected in str(caught.value)


def test_a_file_that_is_too_large_is_an_error(tmp_path):
    file = tmp_path / "domain"
    with file.open("wb") as opened:
        opened.truncate(2**20 + 1)
    with pytest.raises(SettingsError, match="more than 1048576 octets"):
        load({"SMTP_DOMAIN_FILE": str(file)})


BLANKS = ["", " ", "\n", "\n\n", " \n", "\t", "\r\n", "\u00a0\n", " \n\t\n"]


@pytest.mark.parametrize("blank", BLANKS, ids=repr)
@pytest.mark.parametrize("name", [setting.env for setting in TABLE if setting.is_secret])
def test_a_secret_that_is_blank_is_no_missing_one(name, blank):
    assert load({}).http_token is None
    for variables in ({name: blank}, {f"{name}_FILE": "f"}):
        with pytest.raises(SettingsError, match="not blank") as caught:
            load(variables, {"f": blank}.__getitem__)
        assert [one.name for one in caught.value.problems] == list(variables)


@pytest.mark.parametrize("blank", BLANKS, ids=repr)
def test_a_file_that_is_blank_is_no_setting(blank):
    for setting in TABLE:
        with pytest.raises(SettingsError, match="not blank"):
            load({f"{setting.env}_FILE": "f"}, {"f": blank}.__getitem__)


@pytest.mark.parametrize("text", ["hush\n\n", " hush", "hush ", "hush\n\r\n", "\thush", "hu sh"])
def test_a_token_is_what_the_file_says_but_for_one_line_end(text):
    assert load({"SMTP_HTTP_TOKEN_FILE": "f"}, {"f": "hush\n"}.__getitem__).http_token == "hush"
    with pytest.raises(SettingsError, match="without spaces"):
        load({"SMTP_HTTP_TOKEN_FILE": "f"}, {"f": text}.__getitem__)


def test_a_secret_is_never_shown():
    effective = load({"SMTP_HTTP_TOKEN": "hush"})
    token = next(setting for setting in TABLE if setting.is_secret)
    assert show(effective, token) == "(hidden)"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SMTP_PROT", "a setting's name; did you mean SMTP_PORT?"),
        ("SMTP_domain", "a setting's name; did you mean SMTP_DOMAIN?"),
        ("SMTP_HTTP_TOKEN_FIEL", "a setting's name; did you mean SMTP_HTTP_TOKEN_FILE?"),
        ("SMTP_QQQQQQ", "a setting's name"),
        ("SMTP_RELAY_PORT", "a setting's name"),
    ],
)
def test_a_misspelt_name_stops_the_start_and_its_value_is_not_shown(name, expected):
    with pytest.raises(SettingsError) as caught:
        load({name: "opensesame", "OTHER": "x"})
    [problem] = caught.value.problems
    assert (problem.name, problem.value) == (name, "(hidden)")
    assert problem.expected.startswith(expected)
    assert "opensesame" not in str(caught.value)


def test_a_misspelt_name_is_told_with_all_other_problems():
    with pytest.raises(SettingsError) as caught:
        load({"SMTP_PROT": "1", "SMTP_TIMEOUT": "soon", "SMTP_TLS": "required"})
    names = [problem.name for problem in caught.value.problems]
    assert names == ["SMTP_TIMEOUT", "SMTP_TLS", "SMTP_PROT"]


# What Kubernetes sets for the Services `smtp` and `smtp-relay`, each with a named port.
SERVICE = {
    f"SMTP_{infix}{name}": value
    for infix in ("", "RELAY_")
    for name, value in {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "25",
        "SERVICE_PORT_MAIL": "25",
        "PORT_25_TCP": "tcp://10.0.0.1:25",
        "PORT_25_TCP_PROTO": "tcp",
        "PORT_25_TCP_PORT": "25",
        "PORT_25_TCP_ADDR": "10.0.0.1",
    }.items()
} | {"SMTP_RELAY_PORT": "tcp://10.0.0.1:25"}


def test_names_of_a_service_of_kubernetes_are_no_misspelt_settings():
    assert load(SERVICE) == load({})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SMTP_AUTH_USERS": "users"}, "did you mean to set SMTP_AUTH=required too?"),
        ({"SMTP_AUTH_USERS_FILE": "f"}, "did you mean to set SMTP_AUTH=required too?"),
        ({"SMTP_STORE": "memory:", "SMTP_STORE_MIN_FREE": "1TiB"}, "writes to no disk"),
        ({"SMTP_STORE": "discard:", "SMTP_STORE_MIN_FREE": "1TiB"}, "writes to no disk"),
        ({"SMTP_STORE": "discard:", "SMTP_STORE_MAX_MESSAGES": "9"}, "keeps no message"),
        ({"SMTP_STORE_QUORUM": "2"}, "only a postgresql: store has standbys"),
        ({"SMTP_STORE": "postgresql://a/b", "SMTP_STORE_MIN_FREE": "1TiB"}, "is the database's"),
        ({"SMTP_STORE": "discard:", "SMTP_STORE_MAX_AGE": "7d"}, "keeps no message"),
        ({"SMTP_TLS_MIN_VERSION": "1.3"}, "no TLS without SMTP_TLS_CERT"),
        ({"SMTP_HTTP_PORT": "off", "SMTP_HTTP_TOKEN": "hush"}, "SMTP_HTTP_PORT is off"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_a_setting_without_effect_is_a_warning(environ, expected):
    [warning] = warnings(environ, load(environ, {"f": "users"}.__getitem__))
    assert warning.startswith(f"{list(environ)[-1].removesuffix('_FILE')} has no effect: ")
    assert warning.endswith(expected)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {setting.env: setting.default for setting in TABLE if not setting.is_secret},
        {"SMTP_STORE_MIN_FREE": "1TiB"},
        {"SMTP_STORE": "memory:", "SMTP_STORE_MAX_MESSAGES": "9"},
        {"SMTP_AUTH_USERS": "u", "SMTP_AUTH": "required", "SMTP_AUTH_INSECURE": "1"},
    ],
    ids=["nothing", "all defaults", "disk", "memory", "users"],
)
def test_settings_with_effect_and_defaults_are_no_warning(environ):
    assert warnings(environ, load(environ)) == []


def test_a_value_of_an_env_file_has_its_path_for_a_source():
    environ = {"SMTP_PORT": "0", "SMTP_DOMAIN": "a"}
    found = sources(environ, {"SMTP_PORT": ".env"})
    assert [found[name] for name in ("SMTP_PORT", "SMTP_DOMAIN", "SMTP_BIND")] == [
        ".env",
        "environment",
        "default",
    ]


def test_the_example_with_every_line_in_force_is_an_env_file_of_the_defaults():
    """As its first lines promise."""
    text = re.sub(r"^#(SMTP_\w+=)", r"\1", example(), flags=re.MULTILINE)
    values, faults = dotenv.parse(text, PREFIX)
    assert (values.keys(), faults) == ({setting.env for setting in TABLE}, [])
    secrets = {setting.env for setting in TABLE if setting.is_secret}
    plain = {name: value for name, value in values.items() if name not in secrets}
    assert load(plain) == load({})  # A secret has no default, and a blank one stops the start.


def test_advanced_settings_are_last_in_the_example_under_their_own_heading():
    plain_part, heading, advanced_part = example().partition("\n# --- Advanced:")
    assert heading
    for setting in TABLE:
        part = advanced_part if setting.is_advanced else plain_part
        assert f"\n#{setting.env}=" in part


def test_table_and_record_name_the_same_settings():
    names = [setting.attribute for setting in TABLE]
    assert names == [field.name for field in dataclasses.fields(Settings)]


def test_shown_settings_load_as_they_were(settings):
    effective = settings(
        SMTP_RECIPIENTS="@a.test,b@c.test",
        SMTP_PROXY_PROTOCOL="10.0.0.0/8",
        SMTP_TIMEOUT="1.5",
        SMTP_STRICT="yes",
    )
    shown = {setting.env: show(effective, setting) for setting in TABLE if not setting.is_secret}
    assert load(shown) == effective


def test_plain_values_are_those_of_json():
    effective = load({"SMTP_RECIPIENTS": "@a.test", "SMTP_HTTP_TOKEN": "hush"})
    values = {setting.env: plain(effective, setting) for setting in TABLE}
    assert values["SMTP_RECIPIENTS"] == ["@a.test"]
    assert values["SMTP_HTTP_TOKEN"] == "(hidden)"
    assert (values["SMTP_PORT"], values["SMTP_STRICT"], values["SMTP_TLS_PORT"]) == (
        2525,
        False,
        None,
    )


def test_example_file_is_generated():
    root = Path(__file__).parents[2]
    assert (root / ".env.example").read_text() == example()


def test_the_examples_of_uses_are_settings_that_work():
    uses = re.findall(r"^# (\w+): .*\n((?:#    .+\n)+)", example(), re.MULTILINE)
    assert [name for name, _ in uses] == ["Development", "Staging", "Production"]
    for _, lines in uses:
        pairs = [line.removeprefix("#    ").split("=", 1) for line in lines.splitlines()]
        environ = {name: value for name, value in pairs if name.startswith("SMTP_")}
        assert load(environ, lambda _path: "s3cret")
        assert {name for name, _ in pairs} - set(environ) <= {"PRIXFIXE_PUBLISH"}


def test_example_is_the_defaults():
    lines = [line[1:] for line in example().splitlines() if line.startswith("#SMTP_")]
    written = dict(line.split("=", 1) for line in lines)
    for setting in TABLE:
        if setting.is_secret:
            assert written.pop(setting.env) == ""
    assert load(written) == load({})


@given(st.integers(0, 2**40))
def test_sizes(number):
    assert units.size(0)(str(number)) == number
    assert units.size(0)(f"{number}KiB") == number * 1024
    assert units.size(0)(f"{number} mb") == number * 1_000_000


@pytest.mark.parametrize(
    ("text", "octets"), [("1PiB", 2**50), ("1EiB", 2**60), ("1PB", 10**15), ("1EB", 10**18)]
)
def test_large_units(text, octets):
    assert units.size(0)(text) == octets


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300", 300),
        ("1.5", 1.5),
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("7d", 604800),
        ("5ms", 0.005),
    ],
)
def test_durations(text, seconds):
    assert units.duration(0)(text) == pytest.approx(seconds)


@given(st.text())
def test_no_text_breaks_a_reader(text):
    for setting in TABLE:
        try:
            setting.parse(text)
        except ValueError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("text", "address"), [("", ""), ("*", ""), ("[::1]", "::1"), ("localhost", "127.0.0.1")]
)
def test_bind(text, address):
    assert units.bind(text) == address


def test_allow_list_and_networks():
    assert units.recipients("@A.test, b@C.test") == ("@a.test", "b@c.test")
    assert [str(one) for one in units.networks("10.0.0.0/8,::1")] == ["10.0.0.0/8", "::1/128"]


def test_two_rules_about_one_setting_are_one_line():
    with pytest.raises(SettingsError) as caught:
        load({"SMTP_AUTH": "optional"})
    [line] = [text for text in str(caught.value).splitlines() if "SMTP_AUTH='optional'" in text]
    assert "SMTP_AUTH_USERS to be set too; and a certificate (SMTP_TLS_CERT)" in line
