"""The examples of docs/testing.md for services that run elsewhere, against the services' schemas."""

import subprocess

import pytest
import yaml

from tests.documents.blocks import named


def of_github(found):
    return {"on": "push", "jobs": {"test": {"runs-on": "ubuntu-24.04", **found}}}


@pytest.mark.parametrize(
    ("name", "schema", "whole"),
    [
        ("github", "vendor.github-workflows", of_github),
        ("gitlab", "vendor.gitlab-ci", dict),
        ("compose", "vendor.compose-spec", dict),
    ],
)
def test_it_fits_the_schema(tmp_path, name, schema, whole):
    path = tmp_path / "example.yml"
    path.write_text(yaml.safe_dump(whole(yaml.safe_load(named("docs/testing.md", name)))))
    done = subprocess.run(
        ["check-jsonschema", "--builtin-schema", schema, path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
