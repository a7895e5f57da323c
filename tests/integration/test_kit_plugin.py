"""The pytest plugin as users get it: pytest in a process of its own, with the installed package."""

import pytest

from prixfixe.testing import Server
from tests.documents.blocks import named
from tests.support.pytest_runner import SHARED, run_tests


def run(folder, text, *args, **options):
    """Run tests in a process that has the plugin and no other, but for xdist if it is asked for."""
    plugins = ["xdist"] if "-n" in args else []
    return run_tests(folder, text, *args, plugins=plugins, **options)


@pytest.mark.parametrize("document", ["README.md", "docs/api.md"])
def test_the_test_of_the_document_passes_and_can_fail(tmp_path, document):
    text = named(document, "kit")
    assert len([line for line in text.splitlines() if line.strip()]) <= 9
    code, output = run(tmp_path, text, "-W", "error")
    assert (code, "1 passed" in output) == (0, True), output
    code, output = run(tmp_path, text.replace("=Welcome", "=Goodbye").replace('"Welcome"', '"No"'))
    assert (code, "1 failed" in output) == (1, True), output


def test_a_failure_shows_why_and_no_line_of_the_kit(tmp_path):
    text = """
def test_it(inbox):
    inbox.wait(subject="Welcome", timeout=0)
"""
    code, output = run(tmp_path, text)
    assert (code, "stored for this inbox: nothing" in output) == (1, True), output
    assert "prixfixe/testing/" not in output


def test_each_worker_has_its_server_or_all_share_one(tmp_path):
    code, output = run(tmp_path, SHARED, "-n", "2")
    assert (code, "42 passed" in output) == (0, True), output
    with Server() as server:
        smtp = f"{server.smtp_host}:{server.smtp_port}"
        shared = ("--prixfixe-url", server.url, "--prixfixe-smtp", smtp)
        code, output = run(tmp_path, SHARED, "-n", "4", *shared)
        assert (code, "42 passed" in output) == (0, True), output
        page = server.access.api.json("GET", "/api/v1/messages")
        assert page["total"] == 0  # Each inbox cleaned up.


def test_a_run_that_does_not_use_it_imports_next_to_nothing(tmp_path):
    text = """
import sys

def test_it():
    mine = {name for name in sys.modules if name.partition(".")[0] == "prixfixe"}
    assert mine == {"prixfixe", "prixfixe.testing", "prixfixe.testing.plugin"}
    assert not {"h11", "starlette", "uvloop", "aiosmtpd"} & set(sys.modules)
"""
    code, output = run(tmp_path, text)
    assert (code, "1 passed" in output) == (0, True), output


def test_a_shared_server_that_is_not_there_is_told(tmp_path):
    code, output = run(tmp_path, SHARED, "--prixfixe-url", "127.0.0.1")
    assert (code, "expected http://HOST:PORT" in output) == (1, True), output


def test_the_token_of_a_shared_server_is_in_the_environment(tmp_path):
    with Server(settings={"SMTP_HTTP_TOKEN": "a-secret"}) as server:
        shared = ("--prixfixe-url", server.url)
        told = {"PRIXFIXE_TOKEN": "a-secret\n"}
        code, output = run(tmp_path, SHARED, *shared, environ=told)
        assert (code, "42 passed" in output) == (0, True), output
        code, output = run(tmp_path, SHARED, "-k", "[1]", *shared)
        assert (code, "set PRIXFIXE_TOKEN to the server's SMTP_HTTP_TOKEN" in output) == (1, True)
        code, output = run(tmp_path, SHARED, "-k", "[1]", *shared, environ={"PRIXFIXE_TOKEN": "x"})
        assert (code, "set PRIXFIXE_TOKEN to the server's SMTP_HTTP_TOKEN" in output) == (1, True)
