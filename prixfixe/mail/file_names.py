"""Names of attachments: no folder, no control character, and one for what has none."""

from __future__ import annotations

import re
from urllib.parse import quote

__all__ = ["clean_file_name", "content_disposition", "made_up_name"]

MAX_NAME_CHARACTERS = 255
# Controls, and what turns the direction of text: `cod.exe` shown as `exe.doc`.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_NO_TOKEN = re.compile(r"[^A-Za-z0-9!#$&+.^_`|~ ()-]")
_ENDINGS = {
    "text/plain": "txt",
    "text/html": "html",
    "text/calendar": "ics",
    "text/csv": "csv",
    "text/vcard": "vcf",
    "text/rfc822-headers": "txt",
    "message/rfc822": "eml",
    "message/global": "eml",
    "message/delivery-status": "txt",
    "message/global-delivery-status": "txt",
    "message/disposition-notification": "txt",
    "message/feedback-report": "txt",
    "application/pdf": "pdf",
    "application/zip": "zip",
    "application/json": "json",
    "application/xml": "xml",
    "application/pgp-signature": "asc",
    "application/pkcs7-signature": "p7s",
    "application/pkcs7-mime": "p7m",
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/svg+xml": "svg",
    "image/webp": "webp",
}


def clean_file_name(name: str) -> str:
    """Return the last part of a path, without what cannot be seen; "" where nothing is left."""
    name = _UNSEEN.sub("", name.replace("\\", "/").rpartition("/")[2]).strip()
    return "" if name.strip(". ") == "" else _shortened(name)


def _shortened(name: str) -> str:
    if len(name) <= MAX_NAME_CHARACTERS:
        return name
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > 16:
        return name[:MAX_NAME_CHARACTERS]
    return f"{stem[: MAX_NAME_CHARACTERS - len(ending) - 1]}.{ending}"


def made_up_name(number: str, content_type: str) -> str:
    """Return a name for a part that has none, by its number and type."""
    return f"part-{number}.{_ENDINGS.get(content_type, 'bin')}"


def content_disposition(name: str) -> str:
    """Return the header that makes a browser save a part under its name (RFC 6266)."""
    plain = _NO_TOKEN.sub("_", name)
    if plain == name:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
