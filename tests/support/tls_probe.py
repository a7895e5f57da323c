"""What a server offers in TLS, asked of it with `openssl s_client` as testssl does.

Each check takes where to connect: `Where(port, starttls)` and a file with the authority to trust.
"""

import contextlib
import re
import subprocess
import tempfile
from typing import NamedTuple

# Protocol and whether it has to be refused; SECLEVEL=0 lets this client speak the old ones at all.
VERSIONS = {"tls1": False, "tls1_1": False, "tls1_2": True, "tls1_3": True}
GOOD = ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305")
WEAK = ("AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256",
        "aNULL", "eNULL", "3DES", "RC4", "EXPORT", "PSK")  # fmt: skip


class Where(NamedTuple):
    port: int
    is_implicit: bool = False
    authority: str = ""


def s_client(where, *words):
    """Return the command line that connects there."""
    start = [] if where.is_implicit else ["-starttls", "smtp"]
    trust = ["-CAfile", where.authority, "-verify_return_error"] if where.authority else []
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{where.port}", *start, *trust]
    return [*command, "-servername", "localhost", "-crlf", *words]


def ask(where, *words, say=b"QUIT\n"):
    """Run s_client; return whether it agreed on TLS, and all it printed."""
    done = subprocess.run(
        s_client(where, "-ign_eof", *words),
        input=say,
        capture_output=True,
        timeout=30,
        check=False,
    )
    text = (done.stdout + done.stderr).decode("latin-1")
    agreed = re.search(r"Cipher is (?!\(NONE\))(\S+)", text)
    return agreed is not None and "alert" not in text, text


def check_versions(where):
    for name, is_good in VERSIONS.items():
        agreed, text = ask(where, f"-{name}", "-cipher", "ALL:@SECLEVEL=0")
        assert agreed is is_good, (name, text)


def check_ciphers(where):
    for name in GOOD:
        agreed, text = ask(where, "-tls1_2", "-cipher", name)
        assert agreed, (name, text)
        assert name in text
    for name in WEAK:
        agreed, text = ask(where, "-tls1_2", "-cipher", f"{name}:@SECLEVEL=0")
        assert not agreed, (name, text)


def check_features(where):
    agreed, text = ask(where, "-tls1_2")
    assert agreed
    assert "Compression: NONE" in text
    assert "Secure Renegotiation IS supported" in text
    assert "Verify return code: 0 (ok)" in text or not where.authority


def check_renegotiation(where):
    """The command R of s_client asks for a new handshake; then NOOP tells whether it was had."""
    with subprocess.Popen(
        s_client(where, "-tls1_2"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    ) as client:
        if where.is_implicit:
            heard(client, b"220 ")  # in a handshake it would be an error of its own
        say(client, b"R\n")
        before = heard(client, b"RENEGOTIATING")
        say(client, b"NOOP\n")
        text = heard(client, b"250 ")  # at the end of its input it would not wait for an answer
        client.kill()
    assert before.endswith(b"RENEGOTIATING\n"), before
    assert b"no renegotiation" in text, before + text
    assert b"250 " not in text


def say(client, line):
    """Write a line, unless the client has heard enough already."""
    with contextlib.suppress(BrokenPipeError):
        client.stdin.write(line)


def heard(client, wanted):
    """Read lines to the one that has this, or to the end."""
    text = b""
    while wanted not in text and (line := client.stdout.readline()):
        text += line
    return text


def check_resumption(where):
    """TLS 1.2 is taken up again by ticket alone: nothing of it is kept by the server."""
    with tempfile.TemporaryDirectory() as folder:
        kept = f"{folder}/session"
        agreed, text = ask(where, "-tls1_2", "-sess_out", kept)
        assert agreed
        assert "TLS session ticket:" in text
        agreed, text = ask(where, "-tls1_2", "-sess_in", kept)
        assert agreed
        assert "Reused, TLSv1.2" in text


ALL = [check_versions, check_ciphers, check_features, check_renegotiation, check_resumption]
