"""`compose://FILE#SERVICE`: the image of a service, started as the service is set up.

`docker compose config` says what the service is: image or build, environment, command, user, the
volume. The containers are then the verifier's own, so that none of the user's is touched.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prixfixe.verify.targets.base import EnvironmentFault
from prixfixe.verify.targets.docker import DockerSource

if TYPE_CHECKING:
    from prixfixe.verify.targets.base import Launch, Machine

__all__ = ["ComposeSource"]


def _compose(file: str, *words: str) -> str:
    plugin = ["docker", "compose"] if shutil.which("docker") else []
    for command in (["docker-compose"] if shutil.which("docker-compose") else [], plugin):
        if not command:
            continue
        done = subprocess.run(  # noqa: S603 - the file that the user named
            [*command, "-f", file, *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            msg = f"{file}: compose {words[0]} ended with {done.returncode}: {done.stderr[-500:]}"
            raise EnvironmentFault(msg)
        return done.stdout
    raise EnvironmentFault("compose:// needs docker compose or docker-compose")


class ComposeSource(DockerSource):
    """A service of a compose file."""

    def __init__(self, file: str, service: str) -> None:
        services = json.loads(_compose(file, "config", "--format", "json"))["services"]
        if service not in services:
            msg = f"{file} has no service {service!r}; it has {', '.join(sorted(services))}"
            raise EnvironmentFault(msg)
        self.service: dict[str, Any] = services[service]
        volumes = [one["target"] for one in self.service.get("volumes") or () if "target" in one]
        super().__init__(
            self._image(file, service), f"compose://{file}#{service}", "".join(volumes[:1])
        )

    def _image(self, file: str, service: str) -> str:
        if "build" in self.service and not self.service.get("image"):
            project = f"prixfixe-verify-{uuid.uuid4().hex[:8]}"
            _compose(file, "-p", project, "build", service)
            return f"{project}_{service}"
        if "build" in self.service:
            _compose(file, "build", service)
        return str(self.service["image"])

    def launch(self, launch: Launch) -> Machine:
        given = {
            name: value or "" for name, value in (self.service.get("environment") or {}).items()
        }
        env = {**given, **launch.env}
        args = launch.args or tuple(self.service.get("command") or ())
        names = ("user", "read_only", "cap_drop", "tmpfs")
        hardening = {name: self.service[name] for name in names if self.service.get(name)}
        if isinstance(hardening.get("tmpfs"), list):
            pairs = (one.partition(":") for one in hardening["tmpfs"])
            hardening["tmpfs"] = {path: options for path, _, options in pairs}
        both = {**hardening, **launch.hardening}
        return super().launch(replace(launch, env=env, args=args, hardening=both))
