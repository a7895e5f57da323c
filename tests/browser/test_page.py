"""What the page shows and does, in a real browser on a real server."""

import base64
import re
import smtplib

import pytest

from tests.browser.served import letter, serving, until

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ROW = ".row[role=option]"


def subjects(page):
    return page.locator(f"{ROW} .subject").all_inner_texts()


def fill_list(served, count):
    with served.sending() as send:
        for number in range(count):
            send(letter(f"number {number}"))


# --- list


def test_a_row_says_what_a_mail_is(served, open_page):
    served.send(
        letter(
            "hello <b>you</b>",
            to="Bob <b@y.test>, c@y.test",
            files=[("a.pdf", "application/pdf", b"x")],
            X_Tags="green",
        )
    )
    page = open_page(served.http)
    row = page.locator(ROW)
    row.wait_for()
    words = row.inner_text()
    for wanted in (
        "Ann",
        "→ Bob +1",
        "hello <b>you</b>",
        "How are you?",
        "green",
        "1 attachment",
        "Unread",
    ):
        assert wanted in words, wanted
    assert re.search(r"\d+(\.\d)? (k?B)", words)
    assert re.search(r"\d\d:\d\d", words)
    assert page.title() == "(1) PrixFixe"


def test_new_mail_appears_and_moves_nothing_that_is_read(served, open_page):
    fill_list(served, 30)
    page = open_page(served.http)
    page.wait_for_selector("text=number 29")
    served.send(letter("at the top"))
    page.wait_for_selector(f"{ROW} >> text=at the top")
    assert page.title() == "(31) PrixFixe"
    page.locator(ROW, has_text="number 27").click()
    page.wait_for_selector("h2:has-text('number 27')")
    page.locator("#list").evaluate("box => { box.scrollTop = 500; }")
    row = page.locator(ROW, has_text="number 22")
    row.wait_for()
    before = row.bounding_box()["y"]
    served.send(letter("above"))
    page.wait_for_selector("text=1 new message")
    assert abs(row.bounding_box()["y"] - before) < 1
    assert page.locator("#reader h2").inner_text() == "number 27"
    page.click("#newer")
    page.wait_for_selector(f"{ROW} >> text=above")
    page.wait_for_selector("#newer", state="hidden")


def test_thousands_scroll_with_a_screenful_of_rows(served, open_page):
    fill_list(served, 1200)
    page = open_page(served.http)
    page.wait_for_selector("text=number 1199")
    assert page.locator("#count").inner_text().startswith("1,200 messages")
    page.keyboard.press("End")
    page.wait_for_selector(f"{ROW} >> text=/^number 0$/")
    assert page.locator(".row").count() < 40
    page.locator("#list").evaluate("box => { box.scrollTop = box.scrollHeight / 2; }")
    page.wait_for_selector("text=/^number 6[0-9][0-9]$/")
    page.keyboard.press("Home")
    page.wait_for_selector("text=number 1199")
    known = page.evaluate("document.querySelectorAll('.row').length")
    assert known < 40


def test_a_burst_is_listed_whole(served, open_page):
    page = open_page(served.http)
    page.wait_for_selector("text=No mail yet")
    fill_list(served, 120)
    page.wait_for_selector("text=120 messages")
    page.wait_for_selector("text=/^number 119$/")
    assert subjects(page)[:1] == ["number 119"]


def test_rows_stand_in_the_document_as_they_stand_in_sight(served, open_page):
    def places():
        return page.locator(".row").evaluate_all("rows => rows.map(one => Number(one.dataset.at))")

    fill_list(served, 60)
    page = open_page(served.http)
    for number in range(60, 63):
        page.wait_for_selector(f"text={number} messages")
        served.send(letter(f"number {number}"))
        page.wait_for_selector(f"{ROW} >> text=/^number {number}$/")
        assert subjects(page)[:2] == [f"number {number}", f"number {number - 1}"]
        assert places() == sorted(places())
    for key, subject in (("End", "number 0"), ("Home", "number 62")):
        page.keyboard.press(key)
        page.wait_for_selector(f"{ROW} >> text=/^{subject}$/")
        assert places() == sorted(places())


# --- search


def test_a_search_is_a_link_and_back_works(served, open_page):
    served.send(letter("apples"), letter("pears", to="eve@y.test"), letter("more apples"))
    page = open_page(served.http)
    page.wait_for_selector("text=3 messages")
    page.keyboard.press("/")
    page.keyboard.type("subject:apples -more")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=1 result")
    assert subjects(page) == ["apples"]
    assert page.url.endswith("#q=subject%3Aapples+-more")
    other = open_page(page.url)
    other.wait_for_selector("text=1 result")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("#reader h2:has-text('apples')")
    page.go_back()
    page.wait_for_selector("text=No message is open")
    assert subjects(page) == ["apples"]
    page.go_back()
    page.wait_for_selector("text=3 messages")
    served.send(letter("pears again"))
    other.keyboard.press("Escape")
    other.wait_for_selector("text=4 messages")


def test_a_search_that_is_not_understood_says_why(served, open_page):
    page = open_page(f"{served.http}/#q=larger:big")
    page.wait_for_selector("text=This search has no answer")
    assert "larger" in page.locator("#none").inner_text()
    assert page.locator("#q").get_attribute("aria-invalid") == "true"


def test_new_mail_appears_in_a_search_that_finds_it(served, open_page):
    page = open_page(f"{served.http}/#q=apples")
    page.wait_for_selector("text=Nothing found")
    served.send(letter("pears"), letter("apples"))
    page.wait_for_selector("text=1 result")
    assert subjects(page) == ["apples"]


# --- one message


def test_the_tabs_show_a_message(served, open_page):
    html = '<p style="font-size:20px">Your code is 493 021</p><img src="cid:logo">'
    (name,) = served.send(
        letter(
            "tabs",
            "Your code is 493021: https://x.test/confirm?a=b\n",
            html=html,
            picture=PNG,
            files=[("notes.txt", "text/plain", b"notes")],
            X_Special="one two",
        )
    )
    page = open_page(f"{served.http}/view/{name}")  # as Mailpit's clients print it
    page.wait_for_selector("iframe")
    frame = page.frame_locator("iframe")
    frame.locator("text=Your code is 493 021").wait_for()
    assert frame.locator("img").get_attribute("src").startswith("data:image/png;base64,")
    for width, most in (("Phone", 378), ("Tablet", 771), ("Full width", 2000)):
        page.get_by_role("button", name=width, exact=True).click()
        assert page.locator("iframe").bounding_box()["width"] <= most
    page.get_by_role("button", name="Dark", exact=True).click()
    assert page.locator("iframe").evaluate("one => getComputedStyle(one).colorScheme") == "dark"
    shown = page.locator("#panel")
    page.keyboard.press("t")
    shown.get_by_text("https://x.test/confirm?a=b").wait_for()
    page.keyboard.press("s")
    shown.get_by_text("Content-Type: multipart/mixed").wait_for()
    page.keyboard.press("r")
    page.fill("[aria-label='Filter header fields']", "special")
    assert page.locator("#panel tr:visible").all_inner_texts() == ["X-Special\tone two"]
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    shown.get_by_text("multipart/alternative").wait_for()
    page.keyboard.press("e")
    shown.get_by_text("MAIL FROM").wait_for()
    page.keyboard.press("h")
    page.wait_for_selector("iframe")


def test_the_session_names_what_the_same_sender_was_refused(served, open_page):
    (name,) = served.send(letter("kept", "text\n"))
    with smtplib.SMTP("127.0.0.1", served.smtp_port) as smtp:
        smtp.ehlo()
        for sender in ("a@x.test", "other@x.test"):
            smtp.mail(sender)
            code, _text = smtp.rcpt(f"<{sender}@refused>")
            assert code >= 500
            smtp.rset()
    page = open_page(f"{served.http}/view/{name}")
    page.wait_for_selector("#panel")
    page.keyboard.press("e")
    shown = page.locator("#panel")
    shown.get_by_text("a@x.test@refused").wait_for()
    assert "other@x.test" not in shown.inner_text()


def test_mail_in_the_dark_can_tell(served, open_page):
    html = "<style>@media (prefers-color-scheme:dark){p{color:rgb(1,2,3)}}</style><p>x</p>"
    (name,) = served.send(letter(html=html))
    page = open_page(f"{served.http}/#id={name}")
    page.frame_locator("iframe").locator("p").wait_for()
    page.get_by_role("button", name="Dark", exact=True).click()
    until(page, "getComputedStyle(document.querySelector('iframe')).colorScheme === 'dark'")


def test_files_and_the_message_are_saved_as_they_came(served, open_page):
    (name,) = served.send(letter("to save", files=[("notes.html", "text/html", b"<b>notes</b>")]))
    page = open_page(f"{served.http}/#id={name}")
    with page.expect_download() as saved:
        page.get_by_role("button", name="notes.html").click()
    assert saved.value.suggested_filename == "notes.html"
    assert saved.value.path().read_bytes() == b"<b>notes</b>"
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download as .eml").click()
    assert saved.value.suggested_filename == "to save.eml"
    assert b"Subject: to save\r\n" in saved.value.path().read_bytes()


def test_one_key_copies_the_code_or_the_link(served, open_page):
    (name,) = served.send(letter(text="Your code: 493 021. Or https://x.test/confirm?t=1 now.\n"))
    page = open_page(f"{served.http}/#id={name}", permissions=["clipboard-read", "clipboard-write"])
    page.wait_for_selector("text=493021")
    for key, wanted in (("c", "493021"), ("l", "https://x.test/confirm?t=1")):
        page.keyboard.press(key)
        page.wait_for_selector(f"#toast:has-text('{'Code' if key == 'c' else 'Link'} copied')")
        assert page.evaluate("navigator.clipboard.readText()") == wanted


def test_opening_marks_as_read_and_u_takes_it_back(served, open_page):
    (name,) = served.send(letter())
    page = open_page(f"{served.http}/#id={name}")
    page.wait_for_selector("#reader h2:has-text('hello')")
    page.wait_for_selector(f"{ROW}:not(.unread)")
    until(page, "document.title === 'PrixFixe'")
    page.keyboard.press("u")
    until(page, "document.title === '(1) PrixFixe'")


def test_mail_of_the_right_to_left(served, open_page):
    (name,) = served.send(letter("مرحبا بك", "مرحبا ليلى\n"))
    page = open_page(f"{served.http}/#id={name}")
    page.wait_for_selector("#reader h2:has-text('مرحبا')")  # before it, another heading is there
    assert page.locator("#reader h2").evaluate("one => getComputedStyle(one).direction") == "rtl"
    assert (
        page.locator(f"{ROW} .subject").evaluate("one => getComputedStyle(one).direction") == "rtl"
    )
    page.wait_for_selector("pre.written")
    assert (
        page.locator("pre.written").evaluate("one => getComputedStyle(one).unicodeBidi")
        == "plaintext"
    )


def test_a_message_that_is_gone_says_so(served, open_page):
    page = open_page(f"{served.http}/#id=nothing")
    page.wait_for_selector("text=This message is not there")
    (name,) = served.send(letter("latest one"))
    page = open_page(f"{served.http}/view/latest")
    page.wait_for_selector("#reader h2:has-text('latest one')")
    assert page.url.endswith(f"#id={name}")


# --- deleting


def test_delete_one(served, open_page):
    served.send(letter("stays"), letter("goes"))
    page = open_page(served.http)
    other = open_page(served.http)
    page.wait_for_selector("text=2 messages")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("#reader h2:has-text('goes')")
    page.keyboard.press("#")
    page.wait_for_selector("dialog:has-text('Delete this message?')")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("#")
    page.wait_for_selector("dialog")
    page.keyboard.press("Enter")
    page.wait_for_selector("#reader h2:has-text('stays')")
    for each in (page, other):
        each.wait_for_selector("text=1 message")
        assert subjects(each) == ["stays"]


def test_delete_what_a_search_finds(served, open_page):
    served.send(*(letter(f"apple {number}") for number in range(3)), letter("pear"))
    page = open_page(f"{served.http}/#q=apple")
    page.wait_for_selector("text=3 results")
    page.click("#delete-found")
    page.wait_for_selector("dialog:has-text('Delete 3 messages?')")
    assert "apple" in page.locator("dialog").inner_text()
    page.get_by_role("button", name="Delete 3").click()
    page.wait_for_selector("text=Nothing found")
    page.keyboard.press("Escape")
    page.wait_for_selector("text=1 message")
    assert subjects(page) == ["pear"]


# --- keys


def test_everything_can_be_done_by_keys(served, open_page):
    served.send(letter("first"), letter("second"), letter("third"))
    page = open_page(served.http)
    page.wait_for_selector("text=3 messages")
    page.keyboard.press("?")
    page.wait_for_selector("dialog:has-text('Search words')")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog", state="detached")
    for key, subject in (
        ("j", None),
        ("Enter", "third"),
        ("j", "second"),
        ("j", "first"),
        ("k", "second"),
    ):
        page.keyboard.press(key)
        if subject:
            page.wait_for_selector(f"#reader h2:has-text('{subject}')")
    page.keyboard.press("Escape")
    page.wait_for_selector("text=No message is open")
    assert page.evaluate("document.activeElement.id") == "list"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#reader h2:has-text('first')")
    page.keyboard.press("ControlOrMeta+h")  # not a key of the page
    page.focus("[role=tab][aria-selected=true]")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


# --- the token


def test_the_token_is_asked_once_and_never_in_an_address(open_page):
    with serving(SMTP_HTTP_TOKEN="open-sesame") as served:
        (name,) = served.send(letter("secret", html="<p>inside</p>"))
        page = open_page("about:blank")
        asked = []
        page.on("request", lambda one: asked.append(one))  # noqa: PLW0108 - playwright marks it
        page.goto(f"{served.http}/#id={name}")
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=The token was not accepted")
        page.fill("#token", "open-sesame")
        page.keyboard.press("Enter")
        page.frame_locator("iframe").locator("text=inside").wait_for()
        page.wait_for_selector(f"{ROW} >> text=secret")
        served.send(letter("more"))
        page.wait_for_selector(f"{ROW} >> text=more")
        page.reload()
        page.frame_locator("iframe").locator("text=inside").wait_for()
        assert page.locator("dialog").count() == 0
        assert not [one.url for one in asked if "sesame" in one.url]
        (cookie,) = page.context.cookies(f"{served.http}/view/")
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/view")
        assert page.evaluate("document.cookie") == ""
        assert "sesame" not in page.evaluate("JSON.stringify([document.cookie, {...localStorage}])")
        other = open_page(served.http, context=page.context)
        other.wait_for_selector("#token")


# --- connection and state


def test_a_lost_connection_is_told_and_comes_back(open_page, tmp_path):
    store = f"sqlite:{tmp_path / 'mail.db'}"
    with serving(SMTP_STORE=store) as served:
        served.send(letter("before"))
        page = open_page(served.http)
        page.wait_for_selector("text=before")
    page.wait_for_selector("text=Trying again")
    page.wait_for_selector("text=Not reachable")
    with serving(SMTP_STORE=store, SMTP_HTTP_PORT=str(served.http_port)) as again:
        again.send(letter("meanwhile"))
        page.wait_for_selector(f"{ROW} >> text=meanwhile")
        page.wait_for_selector("text=Trying again", state="detached")
        page.wait_for_selector("#state:has-text('Ready')")


def test_a_full_store_is_told_in_plain_words(open_page, tmp_path):
    with serving(
        SMTP_STORE=f"sqlite:{tmp_path / 'mail.db'}", SMTP_STORE_MIN_FREE="900000GiB"
    ) as served:
        page = open_page(served.http)
        page.wait_for_selector("text=Store is full. New mail is deferred")
        page.click("#state")
        page.wait_for_selector("#state-panel:has-text('no room')")
        page.keyboard.press("Escape")
        page.wait_for_selector("#state-panel", state="hidden")


def test_faults_are_in_the_corner(open_page):
    import json
    from urllib.request import Request, urlopen

    with serving(SMTP_FAULTS="true") as served:
        fault = {
            "match": {"to": "x@y.test"},
            "stage": "rcpt",
            "action": {"reply": "451 4.2.1 busy"},
        }
        head = {"Content-Type": "application/json"}
        urlopen(Request(f"{served.http}/api/v1/faults", json.dumps(fault).encode(), head)).close()
        page = open_page(served.http)
        page.click("#faults:has-text('1 fault')")
        page.wait_for_selector(
            "#state-panel:has-text('rcpt: reply 451 4.2.1 busy for to x@y.test')"
        )


def test_without_a_token_a_port_for_others_says_so(served, open_page):
    page = open_page(f"http://inbox:{served.http_port}")
    page.wait_for_selector("text=Anybody who reaches this port may read and delete")
    page.get_by_role("button", name="Hide").click()
    page.wait_for_selector("text=Anybody who reaches this port", state="detached")
    page = open_page(served.http)
    page.wait_for_selector("text=No mail yet")
    assert page.locator(".notice").count() == 0


def test_the_page_breaks_no_rule_of_its_own_policy(served, open_page):
    (name,) = served.send(letter(html="<p>x"))
    page = open_page("about:blank")
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(f"{served.http}/#id={name}")
    page.wait_for_selector("iframe")
    page.keyboard.press("?")
    page.wait_for_selector("dialog")
    assert not [one for one in said if "Content Security Policy" in one or "Trusted" in one]
    refused = page.evaluate(
        "(() => { try { document.body.innerHTML = '<b>x'; return ''; } catch (e) { return e.name; } })()"
    )
    assert refused == "TypeError"


# --- sizes and motion


@pytest.mark.parametrize("width", [320, 800, 801, 2560])
def test_no_width_needs_to_scroll_sideways(served, open_page, width):
    (name,) = served.send(
        letter(
            "wide " * 30, "x" * 2000 + "\n", html="<p>x", files=[("a" * 150, "text/plain", b"x")]
        )
    )
    page = open_page(served.http, viewport={"width": width, "height": 640})
    page.locator(ROW).click()
    page.wait_for_selector("iframe")
    for key in "htsrpe":
        page.keyboard.press(key)
        until(page, "document.querySelector('#panel').firstChild")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width <= 800:
        page.get_by_role("button", name="Back to the list").click()
        page.locator(ROW).wait_for()


def test_who_wants_no_motion_has_none(served, open_page):
    page = open_page(served.http, reduced_motion="reduce")
    page.wait_for_selector("text=No mail yet")
    served.send(letter())
    row = page.locator(ROW)
    row.wait_for()
    style = row.evaluate(
        "one => [getComputedStyle(one).animationName, getComputedStyle(one).transitionDuration]"
    )
    assert style == ["none", "0s"]
