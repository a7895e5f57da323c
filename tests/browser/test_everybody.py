"""The page for everybody: axe-core finds nothing to object to, in light and dark, wide and narrow."""

from pathlib import Path

import pytest

from tests.browser.served import letter


@pytest.fixture(scope="session")
def axe():
    package = pytest.importorskip(
        "axe_playwright_python", reason="no axe-core: nox -s browser has it"
    )
    return (Path(package.__file__).parent / "axe.min.js").read_text()


@pytest.fixture
def check(axe):
    """Run axe-core in a page: outside its policy, as a debugger may."""

    def check(page, what):
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {iframes: false})")
        said = [
            (one["id"], [node["html"][:200] for node in one["nodes"]])
            for one in found["violations"]
        ]
        assert said == [], what
        assert len(found["passes"]) > 10

    return check


def shown(page, served):
    """Show one thing after another, and say what it is."""
    page.wait_for_selector("text=No mail yet")
    yield "nothing"
    code = "Your code is 493021: https://x.test/confirm\n"
    html, files = '<p>x<img src="http://x.test/a">', [("a.txt", "text/plain", b"x")]
    (name,) = served.send(letter("hello", code, html=html, files=files, X_Tags="a, b"))
    page.locator(".row").wait_for()
    yield "list"
    page.evaluate("id => { location.hash = `id=${id}`; }", name)
    page.wait_for_selector("iframe")
    yield "HTML"
    page.keyboard.press("?")
    page.wait_for_selector("dialog")
    yield "help"
    page.keyboard.press("Escape")


def shown_later(page):
    for key, part in (("t", "pre"), ("r", "input"), ("p", ".tree"), ("e", "table")):
        page.keyboard.press(key)
        page.wait_for_selector(f"#panel {part}")
        yield key
    page.click("#state")
    page.wait_for_selector("#state-panel li")
    yield "state"
    page.evaluate("location.hash = 'q=larger:x'")
    page.wait_for_selector("text=This search has no answer", state="attached")
    yield "error"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 320)])
def test_nothing_is_in_the_way(served, open_page, check, scheme, width):
    page = open_page(served.http, color_scheme=scheme, viewport={"width": width, "height": 800})
    for what in shown(page, served):
        check(page, what)
    if (scheme, width) == ("light", 1280):
        for what in shown_later(page):
            check(page, what)
