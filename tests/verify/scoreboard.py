"""The same contract over servers that can be had here; writes docs/scoreboard.md.

`python -m tests.verify.scoreboard [NAME...]`. A server that cannot be had is told as not played.
Postfix is an image of this folder. The others are commands in environments of their own that are
made below a folder: PyPI's aiosmtpd and smtpdfix, npm's maildev, haraka and smtp-server.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOCUMENT = ROOT / "docs" / "scoreboard.md"
FOUND = ROOT / "evidence" / "scoreboard.json"
# Only what binds every server by an RFC, or by the server's own documents.
EXPRESSION = "RUN or SMTP or DUR or SEC or TLS or OBS"
INSTALL_SECONDS = 600


@dataclass
class Player:
    """A server: how it is made, started and asked for its version, and what it promises."""

    title: str
    kind: str
    make: list[str]
    target: str
    version: list[str]
    contract: str
    setting: str


def _npm(package: str) -> list[str]:
    return [
        "npm",
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--prefix",
        "{folder}",
        package,
    ]


def _npm_version(package: str) -> list[str]:
    code = f"console.log(require('{{folder}}/node_modules/{package}/package.json').version)"
    return ["node", "-e", code]


PLAIN = 'version = 1\n[readback]\nkind = "none"\n[promise]\nack = "none"\n[protocol]\nheaderless = false\n'
MAILDEV = (
    'version = 1\n[target]\nhttp_port = 1080\n[readback]\nkind = "maildev"\nport = 1080\n'
    '[promise]\nack = "none"\n[protocol]\nheaderless = false\n'
)
MAILDIR = (
    'version = 1\n[readback]\nkind = "maildir"\npath = "{volume}"\n[promise]\nack = "written"\n'
)

# A library leaves these to the program that uses it, which is one of this checkout.
OF_LIBRARIES = "[waive]\n" + "".join(
    f'"{one}" = {{ reason = "a library leaves it to the program that uses it" }}\n'
    for one in ("PF-SMTP-Y01", "PF-SMTP-N40", "PF-SMTP-X08", "PF-RUN-05")
)
LETTERS = {
    "starttls": "T", "tls-required": "R", "implicit-tls": "I", "auth-in-tls": "S",
    "small-size": "Z", "some-recipients": "J", "no-smtputf8": "U",
}  # fmt: skip


def _peer(name: str, title: str, package: str, protocol: str = "") -> Player:
    """Return a server of the conformance suite's images, which records what it takes."""
    folder, image = ROOT / "tests" / "conformance" / "peers", f"prixfixe-verify-{name}"
    rows = "".join(f'{key} = {{ args = ["{one}"] }}\n' for key, one in LETTERS.items())
    contract = (
        'version = 1\n[target]\nsmtp_port = 25\nsmtps_port = 465\nargs = ["D"]\nfiles = "/tls"\n'
        '[readback]\nkind = "none"\n[promise]\nack = "none"\n'
        f"[protocol]\nheaderless = false\n{protocol}[configurations]\n{rows}"
    )
    make = ["docker", "build", "-q", "--network", "host", "-t", image]
    make += ["-f", str(folder / name / "Dockerfile"), str(folder)]
    version = ["docker", "run", "--rm", "--entrypoint", "dpkg-query", image]
    return Player(
        title,
        "Debian's package, an image of this checkout",
        make,
        f"docker://{image}",
        [*version, "-W", "-f", "${Version}", package],
        contract,
        f"`tests/conformance/peers/{name}`; no read-back",
    )


PLAYERS = {
    "postfix": Player(
        "Postfix",
        "Debian's package, an image of this checkout",
        ["docker", "build", "-q", "--network", "host", "-t", "prixfixe-verify-postfix", str(HERE / "postfix")],
        "docker://prixfixe-verify-postfix",
        ["docker", "run", "--rm", "--entrypoint", "dpkg-query", "prixfixe-verify-postfix", "-W", "-f", "${Version}", "postfix"],
        (HERE / "postfix" / "contract.toml").read_text(),
        "`tests/verify/postfix`; mail is read from its Maildir",
    ),
    "exim": _peer("exim", "Exim", "exim4-daemon-light"),
    "opensmtpd": _peer("opensmtpd", "OpenSMTPD", "opensmtpd", "pipelining = false\n"),
    "aiosmtpd": Player(
        "aiosmtpd",
        "PyPI",
        [sys.executable, "-c", "import aiosmtpd"],
        f"cmd://{sys.executable} {ROOT / 'tests' / 'support' / 'verify_peer.py'} {{port}} {{volume}}",
        [sys.executable, "-c", "import aiosmtpd; print(aiosmtpd.__version__)"],
        MAILDIR + OF_LIBRARIES,
        "its documented handler interface, with a handler that writes a Maildir",
    ),
    "smtpdfix": Player(
        "smtpdfix",
        "PyPI",
        [sys.executable, "-m", "venv", "{folder}/env"],
        f"cmd://{{folder}}/env/bin/python {HERE / 'smtpdfix_server.py'} {{port}}",
        ["{folder}/env/bin/python", "-c", "from importlib.metadata import version; print(version('smtpdfix'))"],
        PLAIN,
        "its controller, started outside of pytest; no read-back",
    ),
    "maildev": Player(
        "MailDev",
        "npm",
        _npm("maildev"),
        "cmd://{folder}/node_modules/.bin/maildev --smtp {port} --web {http_port} --ip 127.0.0.1 --mail-directory {volume}",
        _npm_version("maildev"),
        MAILDEV,
        "defaults; mail is read by its API",
    ),
    "smtp-server": Player(
        "smtp-server (Nodemailer)",
        "npm",
        _npm("smtp-server"),
        f"cmd://node {HERE / 'smtp_server.js'} {{folder}}/node_modules {{port}} {{volume}}",
        _npm_version("smtp-server"),
        MAILDIR + OF_LIBRARIES,
        "its documented options `authOptional` and `onData`, which writes a Maildir",
    ),
    "haraka": Player(
        "Haraka",
        "npm",
        _npm("Haraka"),
        f"cmd://node {HERE / 'haraka_server.js'} {{folder}}/node_modules {{port}} {{volume}}",
        _npm_version("Haraka"),
        MAILDIR + "[protocol]\nheaderless = false\n",
        "its default configuration and one plugin, which takes every recipient and writes a Maildir",
    ),
}  # fmt: skip


def main(argv: list[str]) -> int:
    """Play those that are named, or all, and write the document of all that were played."""
    found = json.loads(FOUND.read_text()) if FOUND.exists() and argv else {}
    for name in argv or PLAYERS:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = _played(name, PLAYERS[name], Path(folder))
        FOUND.parent.mkdir(exist_ok=True)
        FOUND.write_text(json.dumps(found))
    rows = [(PLAYERS[name], *found[name]) for name in PLAYERS if name in found]
    DOCUMENT.write_text(document(rows), encoding="utf-8")
    return 0


def _played(name: str, player: Player, folder: Path) -> tuple[str, dict, str]:
    """Return the version, the report, and why there is none."""
    try:
        _run(player.make, folder)
        if name == "smtpdfix":
            _run(["{folder}/env/bin/python", "-m", "pip", "install", "-q", "smtpdfix"], folder)
        version = _run(player.version, folder).strip()
    except (OSError, subprocess.SubprocessError) as error:
        return "", {}, f"{error}".splitlines()[0][:200]
    contract, report = folder / "contract.toml", folder / "report.json"
    contract.write_text(player.contract)
    target = player.target.replace("{folder}", str(folder))
    words = [target, f"--contract={contract}", "-k", EXPRESSION, f"--report=json={report}"]
    done = subprocess.run(
        [sys.executable, "-m", "prixfixe", "verify", *words], cwd=ROOT, check=False
    )
    if not report.exists():
        return version, {}, f"the verifier ended with {done.returncode}"
    return version, json.loads(report.read_text()), ""


def _run(words: list[str], folder: Path) -> str:
    command = [word.replace("{folder}", str(folder)) for word in words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=INSTALL_SECONDS
    )
    return done.stdout


HEAD = """# Scoreboard: one contract, several servers

Written by `nox -s scoreboard` on {date}. Every server got the cases of [verify](verify.md) that an
RFC or a CWE asks of any server, at level `full`. It is no ranking. These servers were made for
other ends than to pass this table, and each was set up as told below. A *should* or *may* that is
not met is a choice that the RFCs leave. Times depend on the machine, which may have been busy.

aiosmtpd and smtp-server are libraries. What they leave to the program that uses them is waived, as
that program is one of this checkout. A server's author who disagrees with a row can repeat it: the
document names version, setting and case. Corrections are welcome as issues. Five rows about possible
defects that authors were not told of are not played. One cause can fail many cases: Haraka refuses
what comes in one write with the end of DATA, and cases that pipeline need that.

| server | version | passes | musts failed | should or may not met | skipped | unverifiable | waived | seconds |
|---|---|---|---|---|---|---|---|---|
"""


def document(rows: list[tuple[Player, str, dict, str]]) -> str:
    """Return the text."""
    date = dt.datetime.now(dt.UTC).date().isoformat()
    lines = [HEAD.format(date=date).rstrip("\n")]
    lines += [_row(*row) for row in rows if row[2]]
    lines += ["", "## How each was run", "", "| server | from | setting |", "|---|---|---|"]
    lines += [f"| {player.title} | {player.kind} | {player.setting} |" for player, *_ in rows]
    lines += ["", "## Musts that fail, by server", ""]
    for player, _, report, why in rows:
        if why:
            lines.append(f"- {player.title} was not played: {why}")
        elif failed := [one for one in _failed(report) if one["severity"] == "must"]:
            lines.append(f"- {player.title}: {', '.join(one['id'] for one in failed)}")
        else:
            lines.append(f"- {player.title}: none")
    lines += ["", "`prixfixe verify --explain ID` says what a case sends and expects.", ""]
    return "\n".join([*lines, *_waivers(rows)]) + "\n"


def _failed(report: dict) -> list[dict]:
    return [one for one in report["results"] if one["outcome"] == "fail"]


def _row(player: Player, version: str, report: dict, _why: str) -> str:
    counts = Counter(one["outcome"] for one in report["results"])
    musts = sum(one["severity"] == "must" for one in _failed(report))
    numbers = [counts["pass"], musts, counts["fail"] - musts, counts["skip"]]
    numbers += [counts["unverifiable"], counts["waived"], round(report["seconds"])]
    return f"| {player.title} | {version} | {' | '.join(map(str, numbers))} |"


def _waivers(rows: list[tuple[Player, str, dict, str]]) -> list[str]:
    lines = ["## Waived", "", "What a server does otherwise, in a way that an RFC allows.", ""]
    for player, _, report, _why in rows:
        lines += [
            f"- {one['id']}, {player.title}: {one['why'].partition(' (')[0]}"
            for one in report.get("results", ())
            if one["outcome"] == "waived"
        ]
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
