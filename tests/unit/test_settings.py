from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe import units
from prixfixe.settings import TABLE, SettingsError, example, load, show, sources, warnings

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
    "SMTP_MAX_INFLIGHT": ("1KB", "at least 1024"),
    "SMTP_TIMEOUT": ("soon", "a duration such as 30s"),
    "SMTP_SHUTDOWN_TIMEOUT": ("-1", "a duration"),
    "SMTP_RECIPIENTS": ("example.com", "@example.com or user@example.com"),
    "SMTP_STRICT": ("maybe", "true or false"),
    "SMTP_TLS": ("on", "one of off, auto, required"),
    "SMTP_TLS_PORT": ("x", "off or a port"),
    "SMTP_TLS_MIN_VERSION": ("1.1", "one of 1.2, 1.3"),
    "SMTP_AUTH": ("yes", "one of off, optional, required, any"),
    "SMTP_AUTH_INSECURE": ("2", "true or false"),
    "SMTP_PROXY_PROTOCOL": ("10.0.0.1/8", "networks such as"),
    "SMTP_STORE": ("sqlite:", "sqlite:PATH"),
    "SMTP_STORE_MAX_MESSAGES": ("many", "a whole number"),
    "SMTP_STORE_MAX_AGE": ("old", "a duration"),
    "SMTP_STORE_MIN_FREE": ("x", "a size"),
    "SMTP_HTTP_BIND": ("x", "an IP address"),
    "SMTP_HTTP_PORT": ("99999", "off or a port"),
    "SMTP_LOG_LEVEL": ("loud", "one of debug"),
    "SMTP_LOG_FORMAT": ("xml", "one of text, json"),
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
}


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
    assert repr(value) in str(caught.value)
    assert expected in str(caught.value)


def test_every_setting_that_can_be_wrong_has_a_case():
    free_text = {
        "SMTP_TLS_CERT",
        "SMTP_TLS_KEY",
        "SMTP_AUTH_USERS",
        "SMTP_HTTP_TOKEN",
    }
    assert {setting.env for setting in TABLE} == WRONG.keys() | free_text


def test_all_problems_come_at_once():
    with pytest.raises(SettingsError) as caught:
        load({name: value for name, (value, _) in WRONG.items()})
    assert {problem.name for problem in caught.value.problems} == WRONG.keys()


@pytest.mark.parametrize(("variables", "expected"), TOGETHER.values(), ids=TOGETHER)
def test_settings_that_do_not_fit_together(variables, expected):
    with pytest.raises(SettingsError, match=r"expected .*") as caught:
        load(variables)
    assert expected in str(caught.value)


def test_a_file_gives_the_value(tmp_path):
    file = tmp_path / "token"
    file.write_text("secret\n")
    effective = load({"SMTP_HTTP_TOKEN_FILE": str(file)})
    assert effective.http_token == "secret"
    assert "secret" not in repr(effective)
    assert sources({"SMTP_HTTP_TOKEN_FILE": str(file)})["SMTP_HTTP_TOKEN"] == str(file)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SMTP_DOMAIN_FILE": "/nowhere/at/all"}, "No such file"),
        ({"SMTP_DOMAIN_FILE": "/dev/null", "SMTP_DOMAIN": "a"}, "only one of"),
    ],
)
def test_a_bad_file_is_an_error(variables, expected):
    with pytest.raises(SettingsError) as caught:
        load(variables)
    assert expected in str(caught.value)


def test_a_secret_is_never_shown():
    effective = load({"SMTP_HTTP_TOKEN": "hush"})
    token = next(setting for setting in TABLE if setting.is_secret)
    assert show(effective, token) == "(hidden)"


def test_unknown_name_is_a_warning_with_the_nearest():
    assert warnings({"SMTP_PROT": "1", "OTHER": "x"}) == [
        "SMTP_PROT is not a setting; did you mean SMTP_PORT?"
    ]
    assert warnings({"SMTP_QQQQQQ": "1"}) == ["SMTP_QQQQQQ is not a setting"]


def test_example_file_is_generated():
    root = Path(__file__).parents[2]
    assert (root / ".env.example").read_text() == example()


def test_example_is_the_defaults():
    lines = [line[1:] for line in example().splitlines() if line.startswith("#SMTP_")]
    assert load(dict(line.split("=", 1) for line in lines)) == load({})


@given(st.integers(0, 2**40))
def test_sizes(number):
    assert units.size(0)(str(number)) == number
    assert units.size(0)(f"{number}KiB") == number * 1024
    assert units.size(0)(f"{number} mb") == number * 1_000_000


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
