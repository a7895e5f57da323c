"""Pictures of the page: evidence of each run, and those of the documents with `--pictures`."""

import io
from pathlib import Path

import pytest

from tests.browser.served import letter, serving
from tests.browser.test_page import PNG

ROOT = Path(__file__).parents[2]
HTML = """<body style="margin:0;background:#f2f4f6;font:16px sans-serif"><div style="max-width:520px;
margin:24px auto;padding:28px;background:#fff;border-radius:10px"><h1 style="font-size:22px">Confirm your
address</h1><p>Hello Ann, your code is <b>493 021</b>. It is valid for ten minutes.</p><p><a
href="https://shop.example/confirm?token=9f8e7d" style="padding:10px 18px;border-radius:6px;
background:#0b6e66;color:#fff;text-decoration:none">Confirm</a></p><img src="https://shop.example/p.gif"
width=1 height=1 alt=""></div>"""
CODE = "Hello Ann, your code is 493021.\nhttps://shop.example/confirm?token=9f8e7d\n"
ANN = "Ann Example <ann@example.com>"


def mails():
    yield letter(
        "Weekly report",
        "The week in numbers is attached.\n",
        sender="Reports <reports@shop.example>",
        to="team@shop.example, boss@shop.example",
        files=[("report.pdf", "application/pdf", b"x" * 240_000)],
    )
    yield letter(
        "Build 4211 failed on main",
        "Step lint failed after 12 seconds.\n",
        sender="CI <ci@dev.example>",
        to="dev@dev.example",
    )
    yield letter(
        "Reset your password",
        "https://shop.example/reset?token=1\n",
        sender="Shop <no-reply@shop.example>",
        to="bob@example.com",
    )
    yield letter(
        "مرحبا بك في متجرنا",
        "مرحبا ليلى، رمز التحقق الخاص بك هو 553120\n",
        sender="متجر <store@shop.example>",
        to="ليلى <layla@example.com>",
    )
    yield letter(
        "<script>alert(1)</script>",
        "Markup in a subject is text.\n",
        sender="Tester <t@example.net>",
        to=ANN,
    )
    yield letter(
        "Your invoice 2026-1130",
        "Thank you for your order. The invoice is attached.\n",
        sender="Billing <billing@shop.example>",
        to=ANN,
        files=[("invoice.pdf", "application/pdf", b"x" * 38_000)],
        X_Tags="billing",
    )
    yield letter(
        "Welcome to the shop",
        "Good to have you here.\n",
        sender="Shop <hello@shop.example>",
        to=ANN,
    )
    yield letter(
        "Confirm your address",
        CODE,
        sender="Shop <no-reply@shop.example>",
        to=ANN,
        html=HTML,
        picture=PNG,
    )


@pytest.fixture(scope="module")
def shop():
    with serving() as served:
        served.send(*mails())
        yield served


@pytest.fixture
def keep(pytestconfig):
    """Write a picture, with few colours, so that it stays small."""
    image = pytest.importorskip("PIL.Image")

    def keep(page, name):
        page.evaluate("document.activeElement.blur()")
        shot = image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
        small = shot.quantize(48, dither=image.Dither.NONE)
        folders = [
            "evidence/page",
            *(["docs/page"] if pytestconfig.getoption("--pictures") else []),
        ]
        for folder in folders:
            path = ROOT / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            small.save(path, optimize=True)
            assert path.stat().st_size < 100_000

    return keep


WINDOW = {"width": 1120, "height": 700}


def test_list(shop, open_page, keep):
    page = open_page(shop.http, viewport=WINDOW)
    page.wait_for_selector("#state:has-text('Ready')")
    page.wait_for_selector("text=Confirm your address")
    keep(page, "list")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_message(shop, open_page, keep, scheme):
    page = open_page(f"{shop.http}/#id=latest", viewport=WINDOW, color_scheme=scheme)
    page.frame_locator("iframe").locator("text=Confirm").first.wait_for()
    page.wait_for_selector("#state:has-text('Ready')")
    keep(page, "message" if scheme == "light" else "dark")


def test_narrow(shop, open_page, keep):
    page = open_page(shop.http, viewport={"width": 360, "height": 700})
    page.wait_for_selector("text=Confirm your address")
    keep(page, "narrow")
