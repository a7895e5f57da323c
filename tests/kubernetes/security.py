"""Check a pod's spec against Kubernetes' Pod Security Standards "baseline" and "restricted".

Every control that the spec breaks is named. Controls that need an answer from a cluster are not
checked.
"""

from typing import Any

__all__ = ["violations"]

VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
}


def violations(pod: dict[str, Any]) -> list[str]:
    """Return what a pod's spec breaks."""
    security = pod.get("securityContext", {})
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    found += [f"volume {one['name']}" for one in pod.get("volumes", []) if not _is_allowed(one)]
    found += [f"sysctls {security['sysctls']}"] if security.get("sysctls") else []
    for container in (*pod.get("initContainers", []), *pod["containers"]):
        found += [f"{container['name']}: {one}" for one in _of_container(container, security)]
    return found


def _is_allowed(volume: dict[str, Any]) -> bool:
    return set(volume) - {"name"} <= VOLUMES


def _of_container(container: dict[str, Any], pod: dict[str, Any]) -> list[str]:
    own = container.get("securityContext", {})
    both = {**pod, **own}
    capabilities = own.get("capabilities", {})
    checks = {
        "privileged": not own.get("privileged"),
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
        "runAsNonRoot": both.get("runAsNonRoot") is True,
        "runAsUser": both.get("runAsUser") != 0,
        "seccompProfile": both.get("seccompProfile", {}).get("type")
        in ("RuntimeDefault", "Localhost"),
        "capabilities.drop": "ALL" in capabilities.get("drop", []),
        "capabilities.add": set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
        "procMount": own.get("procMount", "Default") == "Default",
        "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
    }
    return [name for name, is_kept in checks.items() if not is_kept]
