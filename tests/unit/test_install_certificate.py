"""The hook that installs a certificate."""

import os
import subprocess

import pytest
import trustme

from tests.support.script_runner import Shell

MINE = str(os.geteuid())


@pytest.fixture
def shell(tmp_path):
    made = Shell(tmp_path)
    (tmp_path / "secrets").mkdir()
    return made


@pytest.fixture
def lineage(tmp_path):
    """A folder as certbot has one for each name."""
    folder = tmp_path / "lineage"
    folder.mkdir()
    issue(folder)
    return folder


def issue(folder):
    pair = trustme.CA().issue_cert("mx.example.com")
    (folder / "fullchain.pem").write_bytes(b"".join(one.bytes() for one in pair.cert_chain_pems))
    pair.private_key_pem.write_to_path(folder / "privkey.pem")


def installed(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def wanted(lineage):
    return {
        "cert.pem": (lineage / "fullchain.pem").read_bytes(),
        "key.pem": (lineage / "privkey.pem").read_bytes(),
    }


def run(shell, *words, **environ):
    return shell.run("install-certificate.sh", *words, **environ)


def test_what_certbot_renewed_is_where_the_server_looks(shell, lineage):
    done = run(shell, "--owner", MINE, RENEWED_LINEAGE=str(lineage))
    assert (done.returncode, done.stdout) == (0, "")
    secrets = shell.folder / "secrets"
    assert installed(secrets) == wanted(lineage)
    for path in secrets.iterdir():
        assert path.stat().st_mode & 0o777 == 0o400
        assert path.stat().st_uid == os.geteuid()
    issue(lineage)  # and once more, over files that nobody may write
    assert run(shell, "--owner", MINE, RENEWED_LINEAGE=str(lineage)).returncode == 0
    assert installed(secrets) == wanted(lineage)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_files_belong_to_the_user_in_the_container(shell, lineage):
    assert run(shell, RENEWED_LINEAGE=str(lineage)).returncode == 0
    owners = {path.stat().st_uid for path in (shell.folder / "secrets").iterdir()}
    assert owners == {1000}


def test_another_client_passes_files_and_another_folder(shell, lineage, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    files = (str(lineage / "fullchain.pem"), str(lineage / "privkey.pem"))
    assert run(shell, "--owner", MINE, "--to", str(place), *files).returncode == 0
    assert installed(place) == wanted(lineage)


@pytest.mark.parametrize("damage", ["missing", "swapped", "no key"])
def test_what_is_no_certificate_changes_nothing(shell, lineage, damage):
    secrets = shell.folder / "secrets"
    assert run(shell, "--owner", MINE, RENEWED_LINEAGE=str(lineage)).returncode == 0
    before = installed(secrets)
    chain, key = lineage / "fullchain.pem", lineage / "privkey.pem"
    if damage == "missing":
        chain.unlink()
    elif damage == "swapped":
        chain.write_bytes(key.read_bytes())
    else:
        key.write_text("nothing\n")
    done = run(shell, "--owner", MINE, RENEWED_LINEAGE=str(lineage))
    assert done.returncode == 1
    assert "expected a file that can be read, with a PEM" in done.stderr
    assert installed(secrets) == before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "RENEWED_LINEAGE"),
        (["one.pem"], "CHAIN and KEY"),
        (["--owner"], "--owner"),
        (["--into", "x"], "--into"),
    ],
)
def test_wrong_usage_is_exit_2(shell, words, named):
    done = run(shell, *words)
    assert done.returncode == 2
    assert named in done.stderr


def test_a_folder_that_is_not_there_is_named(shell, lineage):
    done = run(shell, "--to", "/nowhere/at/all", RENEWED_LINEAGE=str(lineage))
    assert done.returncode == 1
    assert "/nowhere/at/all: no such folder" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed to have too few rights")
def test_without_root_it_says_what_to_do(shell, lineage, tmp_path):
    for folder in tmp_path.parents:  # a worker of xdist has one more than a single process
        if folder.name.startswith(("pytest-", "popen-")):
            folder.chmod(folder.stat().st_mode | 0o711)
    for folder in (tmp_path, shell.folder / "secrets", lineage):
        folder.chmod(0o777)
    for path in lineage.iterdir():
        path.chmod(0o644)
    script = shell.folder / "scripts" / "install-certificate.sh"
    command = ["setpriv", "--reuid=65534", "--clear-groups", str(script)]
    environ = {**shell.environ, "RENEWED_LINEAGE": str(lineage)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 1
    assert "cannot be given to 1000: run this as root, or with --owner" in done.stderr
    assert installed(shell.folder / "secrets") == {}
