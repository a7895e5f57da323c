"""The contract of `prixfixe verify`: its schema, its faults, profiles and waivers; the cases."""

import datetime as dt
import json
import tomllib
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator

from prixfixe.verify.cases import GROUPS, LEVELS, SEVERITIES
from prixfixe.verify.contract import (
    PROFILES,
    Contract,
    ContractError,
    faults_of,
    load_contract,
    merged,
    schema,
)
from prixfixe.verify.dialogue.script import CONFIGURATIONS
from prixfixe.verify.groups import all_cases
from prixfixe.verify.play import chosen

HERE = files("prixfixe.verify")


def written(tmp_path, text):
    path = tmp_path / "contract.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["contract", "report"])
def test_the_schemas_are_schemas(name):
    Draft202012Validator.check_schema(json.loads(HERE.joinpath(f"{name}.schema.json").read_text()))


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_a_contract(profile):
    tables = tomllib.loads(HERE.joinpath(f"profiles/{profile}.toml").read_text())
    assert faults_of(tables, profile) == []
    assert load_contract(None, profile).tables["version"] == 1


# Of other cases than conversations.
OTHERS = ("auth-required", "small-disk", "strange-environment", "token")


def test_configurations_are_those_of_the_cases():
    names = schema()["properties"]["configurations"]["propertyNames"]["enum"]
    assert set(names) == {*CONFIGURATIONS.values(), *OTHERS}


def test_every_fault_is_named(tmp_path):
    path = written(
        tmp_path,
        'version = 1\n[target]\nsmtp_port = 0\nhost = "x"\n[promise]\nack = "soon"\n[readback]\n',
    )
    with pytest.raises(ContractError) as caught:
        load_contract(path, None)
    told = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 4
    for words in (
        "target.smtp_port: 0 is less",
        "'host' was",
        "'soon' is not one",
        "'kind' is a required",
    ):
        assert words in told
    assert all(str(path) in one for one in caught.value.faults)


@pytest.mark.parametrize(
    ("text", "words"),
    [("version = ", "not TOML"), ('version = 1\nprofile = "exim"', "expected one of mailpit")],
)
def test_what_is_no_contract_is_told(tmp_path, text, words):
    with pytest.raises(ContractError, match=words):
        load_contract(written(tmp_path, text), None)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ContractError, match="No such file"):
        load_contract(tmp_path / "none.toml", None)


def test_a_contract_adds_to_its_profile(tmp_path):
    path = written(
        tmp_path, 'version = 1\nprofile = "postfix"\n[target]\nhttp_port = 1\n[promise]\nack="none"'
    )
    contract = load_contract(path, None)
    assert contract.table("target") == {"smtp_port": 25, "http_port": 1}
    assert contract.get("promise", "ack") == "none"
    assert contract.get("promise", "max_recipients") == 1000
    assert contract.waiver("PF-SMTP-D12")


def test_merging_keeps_what_is_below_as_it_was():
    below = {"a": {"b": 1, "c": [1]}}
    assert merged(below, {"a": {"c": [2]}, "d": 3}) == {"a": {"b": 1, "c": [2]}, "d": 3}
    assert below == {"a": {"b": 1, "c": [1]}}


def test_a_waiver_ends(tmp_path):
    today = dt.datetime.now(dt.UTC).date()
    path = written(
        tmp_path,
        "version = 1\n[waive]\n"
        f'"PF-SMTP-G01" = {{ reason = "today", until = {today} }}\n'
        f'"PF-SMTP-G02" = {{ reason = "over", until = {today - dt.timedelta(2)} }}\n',
    )
    contract = load_contract(path, None)
    assert (contract.waiver("PF-SMTP-G01"), contract.waiver("PF-SMTP-G02")) == ("today", "")


def test_the_longest_beginning_says_how_much_a_case_matters():
    contract = Contract({"severity": {"PF-*": "must", "PF-SMTP-*": "should", "PF-SMTP-G01": "may"}})
    told = [contract.severity(one, "may") for one in ("PF-IMG-1", "PF-SMTP-G02", "PF-SMTP-G01")]
    assert told == ["must", "should", "may"]
    assert Contract().severity("PF-SMTP-G01", "should") == "should"


def test_every_case_says_what_it_is():
    cases = all_cases()
    assert len({one.id for one in cases}) == len(cases) > 230
    for one in cases:
        assert one.group in GROUPS
        assert one.severity in SEVERITIES
        assert one.level in LEVELS
        assert one.title.endswith(".")
        assert one.source
        assert one.evidence


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ("G01", {"PF-SMTP-G01"}),
        ("pf-smtp-g and not (G1 or G05 or g06)", {f"PF-SMTP-G0{n}" for n in (1, 2, 3, 4, 7, 8, 9)}),
        ("nothing", set()),
    ],
)
def test_an_expression_chooses(expression, fits):
    assert {one.id for one in chosen(all_cases(), "full", expression)} == fits


@pytest.mark.parametrize("expression", ["and", "G01 or", "(G01", "G01)", "not"])
def test_what_is_no_expression_is_told(expression):
    with pytest.raises(ValueError, match=r"-k: .* expected"):
        chosen(all_cases(), "full", expression)


def test_a_level_has_those_below_it():
    counts = [len(chosen(all_cases(), level, None)) for level in LEVELS]
    assert counts == sorted(counts)
    assert counts[1] > 100
