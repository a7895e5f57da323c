"""A certificate from a real ACME server, by a real client, installed by the hook, and renewed.

Pebble is Let's Encrypt's server for tests. All addresses are on the loopback.
"""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
import trustme

from tests.conftest import PATIENCE

ROOT = Path(__file__).parents[2]
HOOK = ROOT / "scripts" / "install-certificate.sh"
NAME = "mx.example.com"

pytestmark = [
    pytest.mark.skipif(
        not shutil.which(name),
        reason=f"{name} is not installed (Debian has a package of that name)",
    )
    for name in ("pebble", "certbot")
]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


class Authority:
    """Pebble, which believes every challenge: it could ask nobody who a name belongs to."""

    def __init__(self, folder):
        self.folder = folder
        self.port, self.http = free_port(), free_port()
        authority = trustme.CA()
        pair = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(folder / "ca.pem")
        pair.cert_chain_pems[0].write_to_path(folder / "pebble.pem")
        pair.private_key_pem.write_to_path(folder / "pebble.key")
        (folder / "pebble.json").write_text(self._settings())

    def _settings(self):
        return json.dumps(
            {
                "pebble": {
                    "listenAddress": f"127.0.0.1:{self.port}",
                    "managementListenAddress": "127.0.0.1:0",
                    "certificate": str(self.folder / "pebble.pem"),
                    "privateKey": str(self.folder / "pebble.key"),
                    "httpPort": self.http,
                    "tlsPort": 0,
                    "ocspResponderURL": "",
                    "externalAccountBindingRequired": False,
                }
            }
        )

    def certbot(self, *words, **environ):
        """Run certbot in folders of its own."""
        places = [f"--{name}-dir={self.folder / name}" for name in ("config", "work", "logs")]
        done = subprocess.run(
            ["certbot", *words, *places, "--non-interactive"],
            env={**os.environ, "REQUESTS_CA_BUNDLE": str(self.folder / "ca.pem"), **environ},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def authority(tmp_path):
    folder = tmp_path / "acme"
    folder.mkdir()
    made = Authority(folder)
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            ["pebble", f"-config={folder / 'pebble.json'}"],
            env={
                **os.environ,
                "PEBBLE_VA_ALWAYS_VALID": "1",
                "PEBBLE_VA_NOSLEEP": "1",
                "PEBBLE_WFE_NONCEREJECT": "0",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.enter_context(process)
        stack.callback(process.terminate)
        until(lambda: listens(made.port), "pebble does not listen")
        yield made


def served(port):
    """Return the certificate that a client of the TLS port is shown."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port), timeout=30))


def installed(secrets):
    chain = (secrets / "cert.pem").read_text()
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(chain.partition(end)[0] + end)


async def test_a_renewed_certificate_is_used_without_a_restart(authority, start, tmp_path):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    hook = f"{HOOK} --owner {os.geteuid()} --to {secrets}"
    standalone = ("--standalone", f"--http-01-port={authority.http}", "--http-01-address=127.0.0.1")
    account = ("--agree-tos", "--register-unsafely-without-email")
    server = f"--server=https://127.0.0.1:{authority.port}/dir"
    words = ("certonly", server, *standalone, *account, "-d", NAME, "--deploy-hook", hook)
    await asyncio.to_thread(authority.certbot, *words)
    for name in ("cert.pem", "key.pem"):
        assert (secrets / name).stat().st_mode & 0o777 == 0o400
    running = await start(
        SMTP_TLS_CERT=str(secrets / "cert.pem"),
        SMTP_TLS_KEY=str(secrets / "key.pem"),
        SMTP_TLS_PORT="0",
    )
    port = int(running.bound.smtps.rpartition(":")[2])
    first = await asyncio.to_thread(served, port)
    assert first == installed(secrets)
    await asyncio.to_thread(
        authority.certbot, "renew", "--force-renewal", "--no-random-sleep-on-renew"
    )
    second = installed(secrets)
    assert second != first
    end = time.monotonic() + PATIENCE
    while await asyncio.to_thread(served, port) != second:
        assert time.monotonic() < end, "the renewed certificate is not used"
        await asyncio.sleep(0.1)
