"""Every file git has: links lead somewhere, no registry is named."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tracked(pattern="*"):
    listed = subprocess.run(
        ["git", "ls-files", "-z", pattern], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def text_of(path):
    return path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""


# --- links


def anchors(text):
    """The names of a document's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found = set()
    for title in re.findall(r"^#{1,6} +(.+?) *$", text, re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title.lower())
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def links(text):
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    inline = re.findall(r"\]\(<?([^)>\s]+)>?(?: \"[^\"]*\")?\)", text)
    return inline + re.findall(r"^\[[^]]+\]: +(\S+)", text, re.MULTILINE)


MARKDOWN = tracked("*.md")


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(path):
    for link in links(path.read_text()):
        if re.match(r"[a-z]+:", link):
            assert link.startswith(("https://", "mailto:", "http://127.0.0.1")), link
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_references_by_name_are_defined():
    for path in MARKDOWN:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL)
        defined = {one.lower() for one in re.findall(r"^\[([^]]+)\]:", text, re.MULTILINE)}
        used = {one.lower() for one in re.findall(r"\]\[([^]]+)\]", text)}
        assert used <= defined, path.name


def test_headings_become_anchors():
    assert anchors("# A `b`, c\n## [Link](x) & co\n```\n# no\n```\n") == {"a-b-c", "link--co"}


# --- hosts

# In two parts, so that this file does not name them either.
HOSTS = [
    ("ghcr", "io"),
    ("registry-1.docker", "io"),
    ("index.docker", "io"),
    ("hub.docker", "com"),
    ("quay", "io"),
    ("gcr", "io"),
    ("public.ecr", "aws"),
    ("mcr.microsoft", "com"),
    ("registry.k8s", "io"),
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("deb.debian", "org"),
    ("security.debian", "org"),
    ("snapshot.debian", "org"),
    ("archive.ubuntu", "com"),
    ("registry.npmjs", "org"),
    ("proxy.golang", "org"),
    ("conda.anaconda", "org"),
]
REGISTRY = re.compile("|".join(rf"\b{re.escape('.'.join(one))}\b" for one in HOSTS))


def test_no_file_names_the_host_of_a_registry():
    """Where packages and images come from is the machine's affair (docs/releasing.md)."""
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked()
        for match in [REGISTRY.search(text_of(path))]
        if match
    ]
    # docker.io is also the name of a Debian package; with a slash it is the registry.
    slashed = re.compile("docker" + r"\.io/")
    found += [str(path) for path in tracked() if slashed.search(text_of(path))]
    assert not found


@pytest.mark.parametrize("host", HOSTS, ids=".".join)
def test_such_a_host_would_be_found(host):
    assert REGISTRY.search(f"FROM {'.'.join(host)}/library/x")
