"""`prixfixe verify` on servers that nobody here wrote: what a whole run can tell of them.

They need Docker and minutes: `nox -s verify` plays them, the default run does not.
"""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from prixfixe.cli.main import main

HERE = Path(__file__).parent
SECONDS = 360.0  # of a whole run
JUDGED = ("pass", "fail", "waived")
# Python's ssl leaves a socket to the collector where the peer resets before the handshake.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")


def built(name, file, context):
    """Build an image and return its id."""
    words = [
        "docker",
        "build",
        "--quiet",
        "--tag",
        f"prixfixe-verify-{name}",
        "--file",
        file,
        context,
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=900, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def postfix():
    """Debian's Postfix, delivering to a Maildir."""
    return built("postfix", HERE / "postfix" / "Dockerfile", HERE / "postfix")


@pytest.fixture(scope="module")
def dovecot():
    """The same, read by Debian's Dovecot."""
    return built("dovecot", HERE / "dovecot" / "Dockerfile", HERE)


def results_of(image, name, tmp_path, *words):
    report = tmp_path / "report.json"
    contract = HERE / name / "contract.toml"
    main(
        ["verify", f"docker://{image}", f"--contract={contract}", f"--report=json={report}", *words]
    )
    told = json.loads(report.read_text())
    return told, {one["id"]: one["outcome"] for one in told["results"]}


@pytest.mark.timeout(1200)
def test_a_whole_run_on_postfix_judges_what_a_maildir_can_show(postfix, tmp_path):
    told, results = results_of(postfix, "postfix", tmp_path, "--level", "full")
    assert "error" not in results.values()
    talks = Counter(results[one] for one in results if one.startswith("PF-SMTP"))
    assert sum(talks[one] for one in JUDGED) >= 0.9 * sum(talks.values()), talks
    lasting = {one: results[one] for one in results if one.startswith("PF-DUR")}
    # Postfix takes two on one volume: it promises nothing of that.
    assert {one for one, outcome in lasting.items() if outcome not in JUDGED} == {"PF-DUR-08"}
    assert told["seconds"] <= SECONDS


@pytest.mark.timeout(900)
def test_imap_reads_what_dovecot_has(dovecot, tmp_path):
    told, results = results_of(dovecot, "dovecot", tmp_path, "-k", "SMTP-D or SMTP-P or DUR-03")
    assert told["readback"] == "imap"
    assert results["PF-DUR-03"] == "pass"
    assert Counter(results.values())["pass"] >= 0.8 * len(results), told["results"]
    assert {"error", "unverifiable"}.isdisjoint(results.values())
