"""The plain manifests: those of the chart, and what kustomize makes of them."""

import pytest
import yaml

from tests.kubernetes.base import BASES, FOLDER, expected
from tests.kubernetes.rendering import render
from tests.kubernetes.security import violations
from tests.kubernetes.tools import run


def kustomized(folder):
    done = run("kubectl", "kustomize", str(folder))
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def test_the_files_are_the_charts():
    made = expected()
    there = {path for path in FOLDER.rglob("*") if path.is_file()}
    assert there == set(made)
    for path, text in made.items():
        assert path.read_text() == text, "run `python -m tests.kubernetes`"


def without(made, name):
    if isinstance(made, list):
        return [without(one, name) for one in made]
    if not isinstance(made, dict):
        return made
    return {key: without(one, name) for key, one in made.items() if key != name}


@pytest.mark.parametrize("name", BASES)
def test_kustomize_makes_the_same_server(name):
    objects = kustomized(FOLDER / name)
    wanted = render(BASES[name])
    workload = next(one for one in objects if one["kind"] == wanted.workload["kind"])
    pod, pod_wanted = workload["spec"]["template"]["spec"], wanted.pod
    settings = next(one for one in objects if one["kind"] == "ConfigMap")
    assert settings["data"] == wanted.one("ConfigMap")["data"]
    for container in (*pod.get("initContainers", []), *pod["containers"]):
        assert container["envFrom"][0]["configMapRef"]["name"] == settings["metadata"]["name"]
        container["envFrom"][0]["configMapRef"]["name"] = "prixfixe"
    assert pod == without(pod_wanted, "app.kubernetes.io/instance")
    assert violations(pod) == []
    selector = workload["spec"]["selector"]["matchLabels"]
    assert selector.items() <= workload["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("name", BASES)
def test_kubernetes_takes_it(name):
    validate = pytest.importorskip("kubernetes_validate")
    for version in ("1.30", "1.37"):
        for one in kustomized(FOLDER / name):
            validate.validate(one, version, strict=True)


def test_an_overlay_changes_a_setting_and_the_name_of_the_settings(tmp_path):
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "namespace": "post",
                "resources": ["base"],
                "images": [{"name": "prixfixe", "newName": "registry.example.com/mail"}],
                "configMapGenerator": [
                    {
                        "name": "prixfixe",
                        "behavior": "merge",
                        "literals": ["SMTP_DOMAIN=mx.example.com"],
                    }
                ],
            }
        )
    )
    base = tmp_path / "base"
    base.mkdir()
    for file in (FOLDER / "sqlite").iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    before, after = (
        next(one for one in kustomized(folder) if one["kind"] == "ConfigMap")
        for folder in (base, tmp_path)
    )
    assert after["metadata"]["name"] != before["metadata"]["name"]
    assert after["data"] == {**before["data"], "SMTP_DOMAIN": "mx.example.com"}
    assert after["metadata"]["namespace"] == "post"
