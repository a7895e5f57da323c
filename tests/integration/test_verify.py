"""`prixfixe verify` on small real servers, good and broken, started as commands."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from prixfixe.cli.main import main

PEER = Path(__file__).parents[1] / "support" / "verify_peer.py"
SCHEMA = json.loads(files("prixfixe.verify").joinpath("report.schema.json").read_text())
CONTRACT = 'version = 1\n[readback]\nkind = "maildir"\npath = "{volume}"\n'
FEW = "G02 or G08 or D03"


def target(fault=""):
    return f"cmd://{sys.executable} {PEER} {{port}} {{volume}} {fault}"


@pytest.fixture
def verify(tmp_path, capsys):
    """Verify, and return the exit code, the results by id, and what was printed."""
    contract = tmp_path / "contract.toml"
    contract.write_text(CONTRACT)
    report = tmp_path / "report.json"

    def run(where, *words, **more):
        text = more.get("contract", CONTRACT)
        contract.write_text(text)
        code = main(["verify", where, f"--contract={contract}", f"--report=json={report}", *words])
        told = json.loads(report.read_text())
        Draft202012Validator(SCHEMA).validate(told)
        assert told["exit_code"] == code
        return code, {one["id"]: one for one in told["results"]}, capsys.readouterr()

    return run


@contextlib.contextmanager
def running(fault, tmp_path):
    """A server that runs already; its port."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, PEER, str(port), str(tmp_path / "mail"), *([fault] if fault else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"peer ready\n"
        yield port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_good_server_keeps_its_promises(verify):
    code, results, told = verify(target(), "-k", FEW, "--level", "smoke")
    assert code == 0
    assert {one["outcome"] for one in results.values()} == {"pass"}
    assert "musts hold" in told.out


@pytest.mark.parametrize(
    ("fault", "words"), [("cuts", "body: expected"), ("twice", "expected 1 stored, not 2")]
)
def test_what_is_stored_wrongly_is_a_failure_with_its_transcript(verify, fault, words):
    code, results, told = verify(target(fault), "-k", "D01 or D06", "--level", "smoke")
    assert code == 1
    failed = [one for one in results.values() if one["outcome"] == "fail"]
    assert any(words in one["why"] for one in failed)
    assert "C: EHLO c.test" in failed[0]["evidence"][0]["text"]
    assert f"FAIL {failed[0]['id']}" in told.out


def test_where_nothing_can_be_read_back_replies_are_judged_and_the_rest_is_unverifiable(
    verify, tmp_path
):
    with running("", tmp_path) as port:
        where = f"tcp://127.0.0.1:{port}"
        code, results, told = verify(where, "-k", FEW, "--level", "smoke", contract="version = 1")
    assert code == 0
    assert results["PF-SMTP-G02"]["outcome"] == "pass"
    assert results["PF-SMTP-G08"]["outcome"] == "unverifiable"
    assert results["PF-SMTP-G08"]["replies"] == "pass"
    assert results["PF-SMTP-G08"]["storage"] == "unverifiable"
    assert "could not be verified" in told.out


def test_what_cannot_be_seen_fails_where_the_contract_says_so(verify, tmp_path):
    strict = 'version = 1\nunverifiable = "fail"'
    with running("", tmp_path) as port:
        code, _, _ = verify(f"tcp://127.0.0.1:{port}", "-k", "G08", contract=strict)
    assert code == 1


def test_nothing_verified_is_no_success(verify, tmp_path, capsys):
    with running("", tmp_path) as port:
        where = f"tcp://127.0.0.1:{port}"
        code, _, told = verify(where, "-k", "G08", contract="version = 1")
        assert (code, "nothing was verified" in told.out) == (4, True)
        assert main(["verify", where, "-k", "no-such-case"]) == 4
    assert "no case of level full fits" in capsys.readouterr().err


def test_a_failure_that_is_waived_is_none(verify):
    waived = CONTRACT + '[waive]\n"PF-SMTP-D06" = { reason = "known" }\n'
    code, results, _ = verify(target("twice"), "-k", "G02 or D06", contract=waived)
    assert code == 0
    assert results["PF-SMTP-D06"]["why"].startswith("known (")


def test_a_server_that_never_greets_fails(verify):
    contract = CONTRACT + "[target]\nstart_within = 1\n"
    code, results, _ = verify(target("mute"), "-k", "G02", contract=contract)
    assert code == 1
    assert "no greeting within 1 s" in results["PF-SMTP-G02"]["why"]


def test_a_command_that_ends_at_once_fails_with_its_last_words(verify):
    words = f"cmd://{sys.executable} -c \"raise SystemExit('no such setting')\""
    code, results, _ = verify(words, "-k", "G02")
    assert code == 1
    assert "no such setting" in results["PF-SMTP-G02"]["why"]


def test_every_report_tells_the_same(verify, tmp_path):
    kinds = ("html", "junit", "markdown")
    words = [f"--report={kind}={tmp_path / kind}" for kind in kinds]
    verify(target("twice"), "-k", "G02 or D06 or R03 or L09", "--level", "smoke", *words)
    suite = ET.parse(tmp_path / "junit").getroot()[0]
    assert {name: suite.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "4",
        "failures": "1",
        "errors": "0",
    }
    for kind in ("html", "markdown"):
        text = (tmp_path / kind).read_text()
        assert "PF-SMTP-D06" in text
        assert "http://" not in text.replace("http://localhost", "")


def test_another_run_is_compared(verify, tmp_path, capsys):
    before = tmp_path / "before.json"
    words = ("-k", "D06", "--level", "smoke", f"--report=json={before}")
    main(["verify", target(), f"--contract={tmp_path / 'contract.toml'}", *words])
    _, _, told = verify(target("twice"), "-k", "D06", f"--baseline={before}", "--level", "smoke")
    assert "PF-SMTP-D06: pass before, fail now" in told.out
    _, _, told = verify(target(), "-k", "D06", f"--baseline={before}", "--level", "smoke")
    assert "no case ended otherwise than before" in told.out


def test_a_discovered_contract_is_kept(verify, tmp_path):
    words = ("-k", "G02 or D06 or R03", "--level", "smoke")
    _, _, told = verify(target("twice"), *words, "--discover")
    code, results, _ = verify(target("twice"), *words, contract=told.out)
    assert code == 0
    assert results["PF-SMTP-D06"]["outcome"] == "waived"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["tcp://nowhere"], 2, "expected tcp://HOST:PORT"),
        (["compose://file"], 2, "expected compose://FILE#SERVICE"),
        (["ftp://x"], 2, "expected docker://IMAGE"),
        ([], 2, "a target is expected"),
        (["tcp://127.0.0.1:1", "-k", "and"], 2, "-k: a part of an id is expected"),
        (["tcp://127.0.0.1:1", "--baseline", "/nowhere"], 2, "expected a report"),
        (["tcp://127.0.0.1:1", "--contract", "/nowhere"], 2, "No such file"),
        (["cmd:///no/such/program", "-k", "G02"], 3, "No such file"),
        (["--explain", "PF-X"], 2, "no such case"),
    ],
)
def test_what_is_wrong_is_told(words, code, told, capsys):
    assert main(["verify", *words]) == code
    assert told in capsys.readouterr().err


def test_no_engine_is_the_environments_fault(monkeypatch, capsys):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    assert main(["verify", "docker://x"]) == 3
    assert "no Docker engine at unix:///nowhere.sock" in capsys.readouterr().err


def test_a_case_is_explained_and_all_are_listed(capsys):
    assert main(["verify", "--explain", "pf-smtp-d03"]) == 0
    told = capsys.readouterr().out
    assert "CVE-2023-51764" in told
    assert "stored: 0/1" in told
    assert main(["verify", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 230


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_what_it_found_and_leaves_nothing(number, tmp_path):
    contract = tmp_path / "contract.toml"
    contract.write_text(CONTRACT)
    report = tmp_path / "report.json"
    words = ["verify", target(), f"--contract={contract}", f"--report=json={report}"]
    environ = {**os.environ, "TMPDIR": str(tmp_path / "made"), "PYTHONUNBUFFERED": "1"}
    (tmp_path / "made").mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "prixfixe", *words], env=environ, stdout=subprocess.PIPE
    ) as process:
        while not list((tmp_path / "made").glob("*/log")):  # a server was started
            assert process.poll() is None
        process.send_signal(number)
        out = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 130
    assert "interrupted" in out
    assert json.loads(report.read_text())["is_interrupted"]
    assert list((tmp_path / "made").iterdir()) == []


GROUPS = CONTRACT + (
    '[promise]\nack = "fsync"\nmax_message_bytes = 200000\nmax_recipients = 20\n'
    "max_connections = 30\n[image]\nstop_within = 10\n"
)


def outcomes(results):
    return {name: one["outcome"] for name, one in results.items()}


def test_what_a_command_can_show_beyond_conversations_is_judged(verify):
    words = ("-k", "RUN or DUR or IMG or HLT or LIM or OBS-01 or SEC-03", "--rounds", "1")
    _, results, _ = verify(target(), *words, contract=GROUPS)
    found = outcomes(results)
    lasting = [f"PF-DUR-0{number}" for number in (1, 2, 3, 4, 5, 7)]
    for name in (*lasting, "PF-RUN-01", "PF-RUN-04", "PF-RUN-07", "PF-OBS-01", "PF-SEC-03"):
        assert found[name] == "pass", results[name]
    assert {found[one] for one in found if "IMG" in one or "HLT" in one} <= {"unverifiable", "skip"}
    assert found["PF-LIM-01"] == "fail"  # another size is promised than is advertised
    assert "error" not in found.values()


@pytest.mark.parametrize(
    ("fault", "case", "words"),
    [
        ("forgets", "PF-DUR-07", "was acknowledged and is there 0 times"),
        ("cuts", "PF-DUR-03", "differs: "),
        ("cuts", "PF-DUR-09", "differs: "),
        ("twice", "PF-DUR-03", "is there 2 times"),
        ("deaf", "PF-RUN-04", "it still runs after 1 s"),
        ("refuses", "PF-DUR-03", "a message is not taken"),
    ],
)
def test_a_broken_server_fails_the_case_that_is_about_it(verify, fault, case, words, monkeypatch):
    monkeypatch.setattr("prixfixe.verify.groups.durability.SECONDS", 2.0)  # it is lost for good
    contract = GROUPS.replace("stop_within = 10", "stop_within = 1")
    few = contract + "[protocol]\nheaderless = true\n"
    code, results, _ = verify(target(fault), "-k", case, "--rounds", "1", contract=few)
    assert code == 1
    assert words in results[case]["why"]


def test_two_runs_with_one_seed_send_the_same(verify):
    words = ("-k", "DUR-03", "--seed", "7")
    first, second = (
        verify(target("cuts"), *words, contract=GROUPS)[1]["PF-DUR-03"]["why"] for _ in range(2)
    )
    assert first == second


def test_how_many_are_played_at_once_changes_nothing(verify):
    words = ("-k", "DUR-03 or D0 or P1 or RUN-04", "--level", "full", "--seed", "3")
    first, second = (
        verify(target("cuts"), *words, "--jobs", jobs, contract=GROUPS)[1] for jobs in ("1", "5")
    )
    assert list(first) == list(second)
    for name, one in first.items():
        assert (one["outcome"], one["why"]) == (second[name]["outcome"], second[name]["why"])


ADAPTER = """
from pathlib import Path
from prixfixe.verify.readback.files import Maildir

class Shelf(Maildir):
    def __init__(self, place):
        super().__init__(place)
        Path(place.options["note"]).write_text("asked")
"""


def installed(folder, name, code, entry):
    """A distribution that somebody installed: its module, its record, its entry point."""
    record = folder / f"{name}-1.0.dist-info"
    record.mkdir(parents=True)
    (folder / f"{name}.py").write_text(code)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(f"[prixfixe.readback]\n{entry}\n")


@pytest.fixture
def with_packages(tmp_path):
    """Verify one case by the adapter of a kind, with two packages that have adapters."""
    site, contract, report = (tmp_path / name for name in ("site", "contract.toml", "report.json"))
    installed(site, "shelves", ADAPTER, "shelf = shelves:Shelf")
    installed(site, "rotten", "raise RuntimeError('it is rotten')", "rotten = rotten:Adapter")

    def run(kind):
        contract.write_text(
            f'version = 1\n[readback]\nkind = "{kind}"\npath = "{{volume}}"\n'
            f'note = "{tmp_path / "note"}"\n'
        )
        words = ["verify", target(), f"--contract={contract}", "-k", "D06", "--level", "smoke"]
        done = subprocess.run(
            [sys.executable, "-m", "prixfixe", *words, f"--report=json={report}"],
            env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done, json.loads(report.read_text())["results"][0] if report.exists() else None

    return run


def test_another_package_s_adapter_is_found_by_its_entry_point(with_packages, tmp_path):
    done, result = with_packages("shelf")
    assert (done.returncode, result["outcome"]) == (0, "pass"), done.stderr
    assert (tmp_path / "note").read_text() == "asked"


def test_a_package_that_cannot_be_imported_disturbs_only_who_asks_for_it(with_packages):
    done, result = with_packages("rotten")
    assert (done.returncode, result["outcome"]) == (3, "error")
    assert "it is rotten" in result["why"]


def test_an_adapter_that_nobody_has_is_told_with_those_that_there_are(with_packages):
    done, _ = with_packages("none-such")
    assert done.returncode == 3
    assert "maildir, mailpit, mbox, none, rotten, shelf, sink" in done.stderr


def test_the_action_s_step_writes_every_report_and_ends_as_the_command_does(tmp_path):
    """What `action.yml` runs in a workflow, with the package that is installed here."""
    import yaml

    action = yaml.safe_load((Path(__file__).parents[2] / "action.yml").read_text())
    step = action["runs"]["steps"][-1]
    (tmp_path / "prixfixe-verify" / "bin").mkdir(parents=True)
    command = tmp_path / "prixfixe-verify" / "bin" / "prixfixe"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m prixfixe "$@"\n')
    command.chmod(0o755)
    (tmp_path / "contract.toml").write_text(CONTRACT)
    given = {"target": target("twice"), "contract": "contract.toml", "expression": "D06"}
    inputs = {name: one.get("default", "") for name, one in action["inputs"].items()} | given
    environ = {name: inputs[text.split(".")[1].rstrip(" }")] for name, text in step["env"].items()}
    environ |= {"RUNNER_TEMP": str(tmp_path), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step["run"]],
        cwd=tmp_path,
        env={**os.environ, **environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    written = {path.name for path in (tmp_path / "verify-report").iterdir()}
    assert written == {"verify.xml", "verify.json", "verify.html", "verify.md"}
    assert "PF-SMTP-D06" in (tmp_path / "summary").read_text()


# What others than a Maildir are read by: a program for the adapter `command`, and an API.
LISTED = """
import base64, json, pathlib, sys
for path in sorted(pathlib.Path(sys.argv[1]).glob("new/*")):
    raw = path.read_bytes()
    sender, recipient = (one.decode().partition(": ")[2] for one in raw.split(b"\\n", 2)[:2])
    facts = {"sender": sender.strip("<>"), "recipients": [recipient]}
    print(json.dumps({**facts, "raw": base64.b64encode(raw).decode()}))
"""


def test_a_command_of_the_user_s_reads_back(verify, tmp_path):
    reader = tmp_path / "reader.py"
    reader.write_text(LISTED)
    mail = tmp_path / "mail"
    contract = (
        f'version = 1\n[readback]\nkind = "command"\ncommand = "{sys.executable} {reader} {mail}"\n'
    )
    where = f"cmd://{sys.executable} {PEER} {{port}} {mail}"
    code, results, _ = verify(where, "-k", "D06", "--level", "smoke", contract=contract)
    assert (code, results["PF-SMTP-D06"]["outcome"]) == (0, "pass")
    broken = contract.replace(str(reader), "/nowhere.py")
    code, results, _ = verify(where, "-k", "D06", "--level", "smoke", contract=broken)
    assert code == 4
    assert "ended with 2" in results["PF-SMTP-D06"]["why"]


PRIXFIXE = f"cmd://{sys.executable} -m prixfixe serve"
PRIXFIXE_ENV = (
    'SMTP_BIND = "127.0.0.1", SMTP_PORT = "{port}", SMTP_HTTP_PORT = "{http_port}",'
    ' SMTP_STORE = "sqlite:{volume}/mail.db", SMTP_STORE_MIN_FREE = "0"'
)


def test_prixfixe_as_a_command_is_read_back_by_its_api(verify):
    ready = '[logs]\nready = "^prixfixe ready smtp=127.0.0.1:"\n'
    contract = f'version = 1\nprofile = "prixfixe"\n{ready}[target]\nenv = {{ {PRIXFIXE_ENV} }}\n'
    names = "T01 A02 N26 D06 LIM TLS OBS HLT-06 SEC-06 SEC-07 SEC-08 RUN-13 RUN-15 DUR-08"
    words = ("-k", " or ".join(names.split()))
    code, results, told = verify(PRIXFIXE, *words, contract=contract)
    bad = {name: one["why"] for name, one in results.items() if one["outcome"] == "fail"}
    assert (code, bad) == (0, {}), told.out
    assert results["PF-SMTP-D06"]["outcome"] == "pass"
    assert results["PF-LIM-04"]["outcome"] == "pass"


FALSE = """
[promise]
domain = "another.test"
exclusive = true
[health]
accepted = "prixfixe_messages_none_total*"
guarded = ["GET http:8025/readyz"]
wait = "http:8025/api/v1/wait?subject=not-{subject}&timeout=0"
[logs]
ready = "^never said$"
trace_id = true
[start]
refused = [{ env = { SMTP_TIMEOUT = "5" } }, { env = { SMTP_TIMEOUT = "soon" }, says = ["never said"] }]
"""


def test_promises_that_are_not_kept_are_found(verify, monkeypatch):
    monkeypatch.setattr("prixfixe.verify.groups.api.WAIT_SECONDS", 2.0)
    monkeypatch.setattr("prixfixe.verify.groups.starting.END_SECONDS", 5.0)
    contract = f'version = 1\nprofile = "prixfixe"\n{FALSE}[target]\nenv = {{ {PRIXFIXE_ENV} }}\n'
    wrong = {
        "PF-RUN-13": "it goes on",
        "PF-RUN-15": "not 'another.test'",
        "PF-OBS-08": "prixfixe_messages_none_total",
        "PF-OBS-09": "answered 408",
        "PF-OBS-10": "no line is like",
        "PF-SEC-08": "without a token is answered 200",
    }
    code, results, _ = verify(PRIXFIXE, "-k", " or ".join(wrong), contract=contract)
    assert code == 1
    for name, words in wrong.items():
        assert words in results[name]["why"], results[name]
        assert results[name]["outcome"] == "fail"
