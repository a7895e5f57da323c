"""The inbox page of the image: its files came along, and what is asked of them is theirs."""

from pathlib import Path

import prixfixe.http
from prixfixe.http.page.files import FILES, PAGE_POLICY

WEB = Path(prixfixe.http.__file__).parent / "web"


def test_the_image_serves_the_page(start_box):
    box = start_box()
    for path, name in FILES.items():
        answer = box.http(path)
        assert (answer.status, answer.body) == (200, (WEB / name).read_bytes()), path
    assert box.http("/").headers["content-security-policy"] == PAGE_POLICY
