"""Mail's HTML as a frame shows it: its own pictures in it, links that open elsewhere.

Safety does not depend on what is replaced here: the frame has an opaque origin and a policy that
allows no script. Attributes are put first in a tag, since of two with one name the first counts
(HTML 13.2.5.33).
"""

from __future__ import annotations

import base64
import re
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from prixfixe.mail.mime import Parsed, Part

__all__ = ["MAX_SHOWN", "view_policy", "viewed_html"]

MAX_SHOWN = 2 * 1024 * 1024  # characters of a text; a longer one is to be downloaded
MAX_EMBEDDED = 8 * 1024 * 1024  # characters of pictures, each as often as it is shown
_CID = re.compile(r"\bcid:([^\s\"'<>()\\]{1,1000})", re.IGNORECASE)
_IMAGE = re.compile(r"image/(?:png|jpe?g|gif|webp|avif|bmp|svg\+xml|x-icon)")
_LINK = re.compile(r"<(a|area)(?=[\s/>])", re.IGNORECASE)
_HINT = re.compile(r"<(link)(?=[\s/>])", re.IGNORECASE)
_FRAME = re.compile(r"<(i?frame|object|embed|portal|fencedframe)(?=[\s/>])", re.IGNORECASE)
_REMOTE = " https: http:"


def view_policy(*, is_remote: bool = False) -> str:
    """Return the policy of an answer with a mail's HTML: dead wherever it is opened."""
    more = _REMOTE if is_remote else ""
    return "; ".join(
        (
            "sandbox allow-popups allow-popups-to-escape-sandbox",
            "default-src 'none'",
            f"style-src 'unsafe-inline'{more}",
            f"img-src data:{more}",
            f"font-src data:{more}",
            f"media-src data:{more}",
            "form-action 'none'",
            "base-uri 'none'",
            "frame-ancestors 'self'",
        )
    )


def viewed_html(parsed: Parsed, *, is_remote: bool = False) -> str | None:
    """Return the HTML that is shown, or None where a message has none."""
    shown = parsed.html()
    if shown is None:
        return None
    html = _with_pictures(shown.text(MAX_SHOWN), parsed)
    html = _LINK.sub(r'<\1 target="_blank" rel="noopener noreferrer"', html)
    # A frame whose load is forbidden, and a hint, may still open a connection.
    html = _FRAME.sub(r'<\1 src="about:blank" srcdoc="" data=""', html)
    return html if is_remote else _HINT.sub(r'<\1 rel="none"', html)


def _with_pictures(html: str, parsed: Parsed) -> str:
    by_id = {part.content_id: part for part in parsed.parts if part.content_id}
    made: dict[str, str] = {}
    left = MAX_EMBEDDED

    def picture(found: re.Match[str]) -> str:
        nonlocal left
        name = unquote(unescape(found[1]))
        part = by_id.get(name)
        if part is None:
            return found[0]
        if name not in made:
            made[name] = _data_url(part)
        left -= len(made[name])
        return made[name] if made[name] and left >= 0 else found[0]

    return _CID.sub(picture, html) if by_id else html


def _data_url(part: Part) -> str:
    if not _IMAGE.fullmatch(part.content_type) or part.end - part.start > MAX_EMBEDDED:
        return ""
    return f"data:{part.content_type};base64,{base64.b64encode(part.content).decode()}"
