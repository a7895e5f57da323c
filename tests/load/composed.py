"""Read the limits of the service in docker-compose.yml, as options of docker-py.

A server under load gets the same limits as users deploy, so no number is repeated in a test.
"""

import re

import yaml

from tests.container.builder import ROOT

__all__ = ["limits"]

VARIABLE = re.compile(r"\$\{\w+:-([^}]*)\}")


def limits():
    """Return memory, processor, processes, log rotation, probe interval of the service `smtp`."""
    text = VARIABLE.sub(r"\1", (ROOT / "docker-compose.yml").read_text())
    service = yaml.safe_load(text)["services"]["smtp"]
    logging = service["logging"]
    return {
        "mem_limit": service["mem_limit"],
        "memswap_limit": service["memswap_limit"],
        "nano_cpus": int(float(service["cpus"]) * 1e9),
        "pids_limit": service["pids_limit"],
        "tmpfs": dict(one.split(":", 1) for one in service["tmpfs"]),
        "log_config": {"Type": logging["driver"], "Config": logging["options"]},
        "healthcheck": {"interval": nanoseconds(service["healthcheck"]["interval"])},
    }


def nanoseconds(text):
    """Read a number of seconds such as `5s`."""
    return int(float(text.removesuffix("s")) * 1e9)
