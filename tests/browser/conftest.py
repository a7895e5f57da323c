"""A real browser and a real server; without a browser these tests are skipped."""

import os
import shutil
from pathlib import Path

import pytest

from tests.browser.served import serving
from tests.browser.trap import Trap

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
MILLISECONDS = 30_000  # for what happens at once, on a machine that may stop for some of them
WIDE = {"width": 1280, "height": 800}


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="measure in full: 100,000 messages")
    parser.addoption("--pictures", action="store_true", help="write docs/page/*.png anew")


def pytest_terminal_summary(terminalreporter):
    """Say what was measured."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    for report in reports:
        for name, value in report.user_properties:
            terminalreporter.write_line(f"measured: {name}: {value}")


@pytest.fixture(scope="session")
def program():
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        if os.environ.get("CI") and Path("/etc/debian_version").exists() and os.geteuid() == 0:
            pytest.fail("no browser: .ci/programs installs chromium")
        pytest.skip(f"no browser: none of {', '.join(PROGRAMS)} is installed")
    return found


@pytest.fixture(scope="session")
def driver():
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="no playwright: nox -s browser has it"
    )
    with sync_api.sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def trap():
    with Trap() as trap:
        yield trap
        trap.shutdown()


@pytest.fixture(scope="session")
def browser(program, driver, trap):
    """The browser; whatever it looks for at evil.test it finds in the trap."""
    rules = f"MAP evil.test 127.0.0.1:{trap.port}, MAP inbox 127.0.0.1"
    args = ["--no-sandbox", f"--host-resolver-rules={rules}", "--font-render-hinting=none"]
    args.append("--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable")
    browser = driver.chromium.launch(executable_path=program, args=args)
    yield browser
    browser.close()


@pytest.fixture
def open_page(browser):
    """Open pages: `open_page(served.http, **options)`; what goes wrong in them fails the test."""
    contexts, faults = [], []

    def open_one(url, *, context=None, **options):
        if context is None:
            context = browser.new_context(**{"viewport": WIDE, "locale": "en-GB", **options})
            context.set_default_timeout(MILLISECONDS)
            contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture(scope="session")
def shared_server():
    with serving() as served:
        yield served


@pytest.fixture
def served(shared_server):
    """A server without mail."""
    from urllib.request import Request, urlopen

    urlopen(Request(f"{shared_server.http}/api/v1/messages", method="DELETE")).close()
    return shared_server
