"""Documents against the code they speak of."""

import re
import tomllib
from pathlib import Path

import pytest

from prixfixe.cli.main import COMMANDS
from prixfixe.settings import TABLE
from prixfixe.smtp import replies
from prixfixe.smtp.commands import VERBS
from prixfixe.smtp.replies import Reply
from prixfixe.telemetry.metrics_table import TABLE as METRICS
from tests.documents import generated

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "deployment").glob("*.md"),
]


def test_the_readme_begins_with_two_commands_of_one_line():
    top = README.partition("PrixFixe is a compact")[0]
    blocks = re.findall(r"<!-- (\w+) -->\n```sh\n(.*?)\n```", top, re.DOTALL)
    assert [name for name, _ in blocks] == ["serve", "test"]
    assert all("\n" not in command for _, command in blocks)
    assert top.count("```sh") == 2


def test_ci_runs_the_readmes_test_command():
    assert "<!-- test -->" in (ROOT / ".ci" / "run").read_text()


def test_defaults_in_the_readme_are_the_tables():
    rows = dict(re.findall(r"^\| `(SMTP_\w+)` \| `?([^|`]*?)`? \|", README, re.MULTILINE))
    defaults = {setting.env: setting.default for setting in TABLE}
    assert len(rows) > 4
    for name, shown in rows.items():
        assert shown.strip() in (defaults[name], {"": "any", None: ""}.get(defaults[name]), "none")


def test_the_readme_names_every_command():
    line = README.partition("## Commands")[2]
    named = set(re.findall(r"`([a-z-]+(?: [a-z]+)?)(?: [A-Z]+)?`", line.partition("Exit codes")[0]))
    assert named - {"--help"} == set(COMMANDS)


def test_line_limits_in_the_smtp_document_are_the_verbs():
    text = (ROOT / "docs" / "smtp.md").read_text()
    for verb in (b"MAIL", b"RCPT", b"AUTH"):
        assert f"{verb.decode()} {VERBS[verb].max_octets}" in text


@pytest.mark.parametrize("path", [*generated.PARTS, *generated.FILES])
def test_generated_parts_are_the_tables(path):
    present, wanted = {name: texts for name, *texts in generated.expected()}[path]
    assert present == wanted, "run `python -m tests.documents`"


@pytest.mark.parametrize("path", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


def test_variables_in_documents_exist():
    known = {setting.env for setting in TABLE} | {"SMTP_X"}
    for path in DOCUMENTS:
        for name in re.findall(r"\bSMTP_[A-Z_]*[A-Z]\b", path.read_text()):
            assert name.removesuffix("_FILE") in known, (path.name, name)


def test_the_limits_document_is_true():
    """Each reply that enforces a limit, its metric and its row say the same."""
    text = (ROOT / "docs" / "limits.md").read_text()
    rows = re.findall(r"^\| (.+?) \| (.+?) \| `(\w+)` \|", text, re.MULTILINE)
    told = {reply for reply in vars(replies).values() if isinstance(reply, Reply) and reply.limit}
    counted = set(next(spec for spec in METRICS if spec.name == "smtp_limits").labels["limit"])
    assert {reply.limit for reply in told} | {"max_inflight"} == counted
    shown = {(limit, reply[:9]) for _, reply, limit in rows}
    for reply in told:
        assert (reply.limit, reply.wire[:9].decode()) in shown, reply
    results = next(spec for spec in METRICS if spec.name == "smtp_connections").labels["result"]
    assert {limit for _, _, limit in rows} - counted <= set(results)
    for setting, _, limit in rows:
        if setting.startswith("`") and limit not in results:
            assert setting == f"`SMTP_{limit.upper()}`"


def test_the_images_contract_names_tests_that_exist():
    text = (ROOT / "deployment" / "DOCKER-READY.md").read_text()
    names = set(re.findall(r"`(test_\w+\.py)`", text))
    assert len(names) > 4
    assert names <= {path.name for path in (ROOT / "tests" / "container").glob("test_*.py")}


def test_the_contracts_ports_are_the_dockerfiles():
    text = (ROOT / "deployment" / "DOCKER-READY.md").read_text()
    ports = re.search(r"^EXPOSE (\d+) (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert f"ports {ports[1]} and {ports[2]}" in text


def test_commands_in_the_deployment_document_exist():
    text = (ROOT / "DEPLOYMENT.md").read_text()
    named = set(re.findall(r"\bprixfixe (\w[\w-]*)", text))
    assert named <= set(COMMANDS), named - set(COMMANDS)


def test_the_durability_document_lists_the_faults_that_are_tested():
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "durability").glob("test_*.py"))
    text = (ROOT / "docs" / "durability.md").read_text()
    explained, counted = text.partition("The counts of the last")[::2]
    tested = {name.upper() for name in re.findall(r"def test_(f\d\d)_", tests)}
    assert tested == {f"F{number:02}" for number in range(1, 17)}
    assert set(re.findall(r"^\| (F\d\d) ", explained, re.MULTILINE)) == tested
    assert set(re.findall(r"^\| (F\d\d) ", counted, re.MULTILINE)) == tested


def test_the_architecture_document_has_the_layers_of_the_contract():
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.MULTILINE)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [layers] = [one["layers"] for one in contracts["contracts"] if one["type"] == "layers"]
    wanted = {(str(n), name) for n, row in enumerate(layers, 1) for name in row.split(" | ")}
    assert set(rows) == wanted
