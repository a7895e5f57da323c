"""Run a copy of the scripts with only the tools that a test chooses, and with a fake docker.

Neither the checkout's .env nor the caller's settings reach a script.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.sh") if path.name != "lib.sh")
# What POSIX promises (mktemp aside) and the scripts use.
POSIX = (
    *("sh", "awk", "cat", "date", "dirname", "env", "grep", "mkfifo", "mktemp", "printenv", "ps"),
    *("mkdir", "rm", "sed", "sleep", "tail", "tr", "true"),
)


def clean_environ():
    """Return this process's environment without what the scripts read."""
    ours = ("SMTP_", "PRIXFIXE_", "COMPOSE_", "DOCKER_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


class Shell:
    """A checkout with the scripts and what they read only."""

    def __init__(self, folder):
        self.folder = folder
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        for file in ("docker-compose.yml", ".env.example"):
            shutil.copy(ROOT / file, folder)
        shutil.copytree(ROOT / "deployment" / "prometheus", folder / "deployment" / "prometheus")
        (folder / "prixfixe").mkdir()
        shutil.copy(ROOT / "prixfixe" / "__init__.py", folder / "prixfixe")
        self.environ = clean_environ()

    def dotenv(self, text):
        (self.folder / ".env").write_text(text)

    def only(self, *tools):
        """Let the machine have POSIX's tools and these."""
        place = self.folder / "bin"
        place.mkdir(exist_ok=True)
        for tool in (*POSIX, *tools):
            path = sys.executable if tool == "python3" else shutil.which(tool)
            if path and not (place / tool).exists():
                (place / tool).symlink_to(path)
        self.environ["PATH"] = str(place)

    def docker(self, part):
        """Put a docker into the PATH that logs its arguments and then does this (shell)."""
        self.only()
        fake = self.folder / "bin" / "docker"
        fake.unlink(missing_ok=True)
        fake.write_text(f'#!/bin/sh\necho "$*" >>"{self.folder}/calls"\n{part}\n')
        fake.chmod(0o755)

    @property
    def calls(self):
        """What docker was asked, a line each."""
        return (self.folder / "calls").read_text().splitlines()

    def run(self, script, *words, seconds=50, **environ):
        return subprocess.run(
            [self.folder / "scripts" / script, *words],
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
