"""When a watched file counts as another one: once it is whole."""

import os

import pytest

from prixfixe.auth.users_file import UsersError, read_users
from prixfixe.cli.main import main
from prixfixe.runtime.watch import Watch
from prixfixe.settings import SettingsError, load
from prixfixe.tls.certificates import CertificateError, Certificates


def renewed(watcher):
    """Look until a change counts; return what came of reading it."""
    assert watcher.poll() is None, "it may still be written to"
    return watcher.poll()


@pytest.fixture
def files(tmp_path):
    paths = tmp_path / "cert", tmp_path / "key"
    for path in paths:
        path.write_text("old")
    return paths


@pytest.fixture
def watch(files):
    return Watch(*map(str, files))


def test_nothing_is_due_while_nothing_changes(watch):
    assert not any(watch.is_due() for _ in range(3))


def test_a_change_is_due_at_the_second_look_and_until_it_is_read(watch, files):
    files[1].write_text("newer")  # another size: times may be the same for 4 ms
    assert [watch.is_due() for _ in range(3)] == [False, True, True]
    watch.read()
    assert not watch.is_due()


def test_two_files_that_are_written_one_after_the_other_are_due_once(watch, files):
    files[0].write_text("new certificate")
    assert not watch.is_due()
    files[1].write_text("new key")
    assert [watch.is_due(), watch.is_due()] == [False, True]


def test_a_file_that_is_still_being_written_is_not_due(watch, files):
    with files[0].open("w") as file:
        for _ in range(5):
            assert not watch.is_due()
            file.write("more")
            file.flush()


def test_a_change_while_it_is_read_is_due_afterwards(watch, files):
    files[0].write_text("new")
    watch.is_due()
    watch.read()
    files[0].write_text("newer")
    assert [watch.is_due(), watch.is_due()] == [False, True]


def test_what_vanishes_and_what_comes_back_is_due(watch, files):
    files[0].unlink()
    assert [watch.is_due(), watch.is_due()] == [False, True]
    watch.read()
    files[0].write_text("old")
    assert [watch.is_due(), watch.is_due()] == [False, True]


def test_nothing_to_watch_is_never_due():
    assert not Watch().is_due()


def test_a_change_shows_at_the_first_look_that_asks_whether_files_are_as_read(watch, files):
    assert watch.is_as_read()
    files[0].write_text("new")
    assert not watch.is_as_read()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_refused_at_once_wherever_a_file_is_named(kind, tmp_path, monkeypatch):
    """A start, or the watch while a server runs, must not wait for somebody to write to a pipe."""
    path = tmp_path / "named"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    monkeypatch.setenv("SMTP_STORE", f"sqlite:{tmp_path / 'x.db'}")
    with pytest.raises(UsersError, match="not a regular file"):
        read_users(str(path))
    with pytest.raises(CertificateError, match="not a regular file"):
        Certificates(str(path))
    with pytest.raises(SettingsError, match="not a regular file"):
        load({"SMTP_HTTP_TOKEN_FILE": str(path)})
    assert main(["restore", str(path)]) == 1
