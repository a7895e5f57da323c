"""What the image carries, from its exported tree and each of its layers."""

import email
import hashlib
import re
import struct
from collections import Counter

import pytest

from prixfixe.verify.tree import (
    gaining_rights,
    hidden_or_replaced,
    private_keys,
    writable_by_all,
)
from tests.container.builder import ROOT
from tests.container.tree import layers_of, tree_of

EXPORTED_OCTETS = 47_000_000
COMPRESSED_OCTETS = 17_000_000
LIBRARY = "usr/lib/python3.13"
WHEELS = "usr/local/lib/python3.13/dist-packages"

FORBIDDEN = {
    "a shell": r"(^|/)(ba|da|z|k|c)?sh$|(^|/)busybox",
    "a compiler or linker": r"(^|/)(gcc|g\+\+|cc|c\+\+|ld|as|make|tcc)(-[\d.]+)?$|(^|/)libpython[^/]*\.a$",
    "headers": r"(^|/)usr/include/|\.(h|pyx|pxd)$",
    "an installer": r"(^|/)(pip|setuptools|ensurepip|wheel|uv|easy_install)(/|$|-[\d.]+)|(^|/)(apt|dpkg)[^/]*$",
    "a cache": r"(^|/)(var/lib/apt/lists/.+|var/cache/.+|\.cache/.*|[^/]+\.deb|pip-[^/]*cache)",
    "version control": r"(^|/)\.(git|hg|svn)(/|$|ignore$)",
    "a secret": r"(^|/)(\.env|\.netrc|\.pgpass|id_(rsa|ed25519|ecdsa)|.*\.(pem|key|p12|pfx))$",
    "what only the wheel has": rf"^{WHEELS}/prixfixe/(load|testing|verify)/|^{WHEELS}/prixfixe/cli/(load|verify)",
    "tests": rf"(^|/)(tests?|testing)/.*\.py$|(^|/)(conftest|test_\w+)\.py$|^{LIBRARY}/unittest/",
}
WRITABLE_BY_ALL = {"tmp"}


@pytest.fixture(scope="session")
def tree(image):
    """The tree of a container of the image."""
    return tree_of(image)


@pytest.fixture(scope="session")
def layers(image):
    """The layers as they are shipped."""
    return layers_of(image)


# --- size


def test_the_tree_is_within_its_budget(tree, record_property):
    record_property("exported_octets", tree.octets())
    assert tree.octets() <= EXPORTED_OCTETS


def test_the_layers_are_within_their_budget_compressed(layers, record_property):
    octets = sum(layer.compressed for layer in layers)
    record_property("compressed_octets", octets)
    assert octets <= COMPRESSED_OCTETS


def test_no_layer_ships_what_another_hides_or_replaces(layers):
    assert hidden_or_replaced(layers) == []


def test_no_octets_are_shipped_twice(tree):
    by_content = Counter()
    for name, member in tree.files().items():
        if member.isreg() and member.size > 100_000:
            by_content[hashlib.sha256(tree.read(name)).digest()] += 1
    assert by_content
    assert max(by_content.values()) == 1


# --- what must not be there


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_layer_carries(what, layers):
    pattern = re.compile(FORBIDDEN[what])
    assert [name for layer in layers for name in layer.files() if pattern.search(name)] == []


def test_no_layer_carries_a_private_key(layers):
    assert private_keys(layers, but=LIBRARY) == []


def test_no_file_gains_rights_when_run(tree):
    assert gaining_rights(tree) == []


def test_nothing_but_tmp_is_writable_by_all(tree):
    assert writable_by_all(tree) == WRITABLE_BY_ALL
    assert tree.members["tmp"].mode & 0o1000


def test_no_device_or_socket_is_there(tree):
    kinds = {name for name, one in tree.members.items() if one.isdev()}
    assert kinds == set()


# --- who owns it


def test_root_owns_all_but_the_mail(tree):
    others = {n: (m.uid, m.gid) for n, m in tree.members.items() if (m.uid, m.gid) != (0, 0)}
    assert others == {"var/mail": (1000, 0)}


def test_the_mail_folder_is_for_its_user_and_group_alone(tree):
    mail = tree.members["var/mail"]
    assert mail.isdir()
    assert mail.mode & 0o7777 == 0o770
    assert not [name for name in tree.members if name.startswith("var/mail/")]


def test_users_and_groups_are_two_without_password_or_shell(tree):
    users = [line.split(":") for line in tree.text("etc/passwd").splitlines()]
    assert [(name, uid, gid) for name, _, uid, gid, *_ in users] == [
        ("root", "0", "0"),
        ("smtp", "1000", "1000"),
    ]
    assert {fields[1] for fields in users} == {"*"}
    assert {fields[6] for fields in users} == {"/sbin/nologin"}
    groups = [line.split(":") for line in tree.text("etc/group").splitlines()]
    assert [(name, gid) for name, _, gid, _ in groups] == [("root", "0"), ("smtp", "1000")]
    assert not {"etc/shadow", "etc/gshadow", "etc/sudoers"} & set(tree.members)


# --- what must be there


def test_the_command_is_executable_and_isolated(tree):
    command = tree.members["usr/local/bin/prixfixe"]
    assert command.mode & 0o7777 == 0o755
    assert tree.text("usr/local/bin/prixfixe").startswith("#!/usr/bin/python3.13 -IB\n")


def test_wheels_are_exactly_the_locked_ones(tree):
    lock = (ROOT / "requirements" / "image.txt").read_text()
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))
    found = {
        metadata["Name"].lower().replace("_", "-"): metadata["Version"]
        for metadata in _wheel_metadata(tree)
    }
    found.pop("prixfixe")
    excluded = {name for name in locked if name not in found}
    assert found == {name: version for name, version in locked.items() if name in found}
    # A marker may keep one away (another system, another Python); it says so in the lock.
    for name in excluded:
        assert re.search(rf"^{name}==\S+ ;", lock, re.MULTILINE), f"{name} is locked and not there"


def test_licences_are_permissive(tree):
    permissive = re.compile(r"MIT|BSD|Apache|PSF|ISC|Python Software Foundation")
    for metadata in _wheel_metadata(tree):
        terms = [metadata["License-Expression"], metadata["License"]]
        terms += [one for one in metadata.get_all("Classifier", []) if one.startswith("License")]
        assert permissive.search(" ".join(filter(None, terms))), metadata["Name"]


def _wheel_metadata(tree):
    names = [name for name in tree.files() if re.fullmatch(rf"{WHEELS}/[^/]+/METADATA", name)]
    return [email.message_from_bytes(tree.read(name)) for name in names]


def test_scanners_find_every_debian_package_and_its_files_unchanged(tree):
    wanted = (ROOT / "docker" / "packages.txt").read_text().splitlines()
    for package in (line for line in wanted if line and not line.startswith("#")):
        status = email.message_from_bytes(tree.read(f"var/lib/dpkg/status.d/{package}"))
        assert status["Package"] == package
        assert status["Version"]
        assert status["Architecture"] in ("amd64", "arm64", "all")
        sums = tree.text(f"var/lib/dpkg/status.d/{package}.md5sums").splitlines()
        for line in sums:
            name = line[34:]
            digest = hashlib.md5(tree.read(name), usedforsecurity=False).hexdigest()
            assert line[:32] == digest, name
    assert tree.text("etc/os-release").count("VERSION_CODENAME=trixie") == 1


def test_every_package_keeps_its_copyright_file(tree):
    folders = {name.split("/")[3] for name in tree.members if name.startswith("usr/share/doc/")}
    packages = {
        name.rpartition("/")[2].removesuffix(".md5sums")
        for name in tree.files()
        if name.startswith("var/lib/dpkg/status.d/")
    }
    assert packages <= folders


def test_programs_are_of_the_architecture_the_image_names(tree, image):
    from tests.container import engine

    machines = {"amd64": 62, "arm64": 183}
    named = engine.client().images.get(image).attrs["Architecture"]
    programs = [name for name, one in tree.files().items() if one.isreg() and one.size > 64]
    elf = {name: head for name in programs if (head := tree.read(name)[:20])[:4] == b"\x7fELF"}
    assert len(elf) > 20
    others = {
        name for name, head in elf.items() if struct.unpack("<H", head[18:20])[0] != machines[named]
    }
    assert others == set()


def test_all_times_are_one(tree, layers):
    times = {member.mtime for layer in layers for member in layer.members.values()}
    assert times == {0}


def test_modules_compiled_are_those_a_server_loads(tree):
    compiled = [name for name in tree.files() if name.endswith(".pyc")]
    assert any(name.startswith(f"{WHEELS}/prixfixe/server/__pycache__/app.") for name in compiled)
    assert {tree.read(name)[4:8] for name in compiled} == {struct.pack("<I", 0b01)}
