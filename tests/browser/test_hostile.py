"""Hostile mail in a real browser: nothing runs, nothing is loaded, and the page goes on."""

import time

import pytest

from tests.browser.hostile import CONTROL, RUNS, corpus
from tests.browser.served import letter, until
from tests.conftest import PATIENCE

MAILS = corpus()


class Watched:
    """What a page and its frames did."""

    def __init__(self, page):
        self.said, self.pages, self.dialogs, self.downloads, self.asked = [], [], [], [], []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        page.on("download", lambda one: self.downloads.append(one.suggested_filename))
        page.context.on("page", lambda one: self.pages.append(one.url))
        page.context.on("response", lambda one: self.asked.append(one.url))

    def ran(self):
        return [one for one in self.said if one == RUNS]

    def elsewhere(self, own):
        """What was answered by others than the server; frames may hold data of their own."""
        return [url for url in self.asked if not url.startswith((own, "data:", "about:"))]


def test_there_is_enough_of_it():
    assert len(MAILS) >= 60


def test_the_probe_can_be_seen_to_run_and_to_load(open_page, trap):
    """Outside the sandbox the same script says so in the console, and asks the trap."""
    trap.page = CONTROL
    page = open_page("about:blank")
    watched = Watched(page)
    with page.expect_console_message(lambda message: message.text == RUNS):
        page.goto("http://evil.test/control")
    page.wait_for_load_state()
    assert watched.ran()
    assert any("/ran" in line for line in trap.asked)
    assert watched.elsewhere("http://127.0.0.1")


def test_nothing_runs_and_nothing_is_loaded(served, open_page, trap):
    trap.asked.clear()
    names = dict(zip(served.send(*MAILS.values()), MAILS, strict=True))
    page = open_page(served.http)
    watched = Watched(page)
    page.wait_for_selector(".row")
    for at, (message_id, name) in enumerate(names.items()):
        look_at(
            page, message_id, name, every_tab=at % 16 == 0 or name.startswith(("markup", "many"))
        )
        found = (watched.ran(), watched.dialogs, watched.pages, watched.downloads, trap.asked)
        assert not any(found), (name, found)
        assert page.url.startswith(f"{served.http}/#"), name
    assert watched.elsewhere(served.http) == []
    is_usable(page, served)


def look_at(page, message_id, name, *, every_tab):
    """Open a message by its address, and look at its tabs."""
    page.evaluate("id => { location.hash = `id=${id}`; }", message_id)
    until(page, "id => document.querySelector(`#panel[data-id='${id}']`)?.firstChild", message_id)
    if page.evaluate("document.querySelector('iframe') !== null"):
        frame_of(page, f"/view/{message_id}.html").wait_for_load_state()
    for key in "tsrpe" if every_tab else "":
        page.keyboard.press(key)
        until(page, "document.querySelector('#panel').firstChild")
    page.keyboard.press("h")


def is_usable(page, served):
    """The page still shows what comes, and opens it."""
    page.keyboard.press("Escape")
    served.send(letter("after all that"))
    page.wait_for_selector("text=after all that")
    page.locator(".row", has_text="after all that").click()
    page.wait_for_selector("h2:has-text('after all that')")


@pytest.mark.parametrize(
    "html",
    [
        '<a href="javascript:console.log(\'it runs\')" style="position:fixed;inset:0">x</a>',
        '<a href="javascript:console.log(\'it runs\')" target=_self style="position:fixed;inset:0">x</a>',
        '<a href="data:text/html,<script>console.log(\'it runs\')</script>" style="position:fixed;inset:0">x</a>',
        '<form action="http://evil.test/form"><button style="position:fixed;inset:0">x</button></form>',
        '<a href="http://evil.test/x" download style="position:fixed;inset:0">x</a>',
    ],
)
def test_a_click_runs_nothing_in_the_page(served, open_page, trap, html):
    trap.asked.clear()
    (name,) = served.send(letter(html=html))
    page = open_page(f"{served.http}/#id={name}")
    watched = Watched(page)
    click_in_frame(page, name)
    page.wait_for_timeout(150)  # for what should not happen
    assert (watched.ran(), watched.dialogs, watched.downloads) == ([], [], [])
    assert page.url == f"{served.http}/#id={name}"
    assert not [line for line in trap.asked if "/form" in line or "/ran" in line]


def test_a_link_opens_a_tab_that_knows_nothing_of_the_page(served, open_page, trap):
    trap.page = b"<title>elsewhere</title>"
    html = '<a href="http://evil.test/control" target="_top" rel="opener" style="position:fixed;inset:0">x</a>'
    (name,) = served.send(letter(html=html))
    page = open_page(f"{served.http}/#id={name}")
    with page.context.expect_page() as opened:
        click_in_frame(page, name)
    opened.value.wait_for_url("http://evil.test/control")  # a tab begins with an empty page
    assert opened.value.evaluate("[window.opener, document.referrer, window.origin]") == [
        None,
        "",
        "http://evil.test",
    ]
    assert page.url == f"{served.http}/#id={name}"


def frame_of(page, part):
    """Return the frame whose address has this part, as soon as there is one."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for frame in page.frames[1:]:
            if part in frame.url:
                return frame
        page.wait_for_timeout(10)
    raise AssertionError(f"no frame with {part}")


def click_in_frame(page, name):
    frame_of(page, f"/view/{name}.html").wait_for_load_state()
    page.frame_locator("iframe").locator("a, button").click()


def test_mail_that_is_opened_by_its_address_is_dead(served, open_page, trap):
    trap.asked.clear()
    html = MAILS["script"]
    (name,) = served.send(html)
    page = open_page("about:blank")
    watched = Watched(page)
    page.goto(f"{served.http}/view/{name}.html")
    assert watched.ran() == []
    assert page.evaluate("window.origin") == "null"
    assert trap.asked == []


def test_remote_content_is_loaded_when_the_reader_asks(served, open_page, trap):
    trap.asked.clear()
    (name,) = served.send(
        letter(
            html='<p>x<img src="http://evil.test/pixel"><link rel=stylesheet href="http://evil.test/s.css">'
        )
    )
    page = open_page(f"{served.http}/#id={name}")
    frame_of(page, "/view/").wait_for_load_state()
    assert trap.asked == []
    page.get_by_role("button", name="Load remote content").click()
    page.wait_for_selector("text=Remote content is loaded")
    frame_of(page, "ticket").wait_for_load_state()
    assert {line.split()[1] for line in trap.asked if line.startswith("GET")} == {
        "/pixel",
        "/s.css",
    }
    trap.asked.clear()
    page.keyboard.press("t")
    page.keyboard.press("h")
    frame_of(page, "embed=1").wait_for_load_state()
    assert trap.asked == []
