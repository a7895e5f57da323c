"""Mailpit's path to send a mail: it is stored here, and sent nowhere.

A request that is not understood stores nothing.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

from prixfixe.http.api.delete_request import body_of
from prixfixe.http.responses import Json, only
from prixfixe.mail.message import Envelope, Message, Recipient
from prixfixe.smtp.address import AddressError, parse_path

if TYPE_CHECKING:
    from email.message import EmailMessage

    from starlette.requests import Request
    from starlette.responses import Response

    from prixfixe.http.context import HttpContext

__all__ = ["SendPath"]

STORE_SECONDS = 60.0
_FIELDS = (
    *("from", "to", "cc", "bcc", "replyto", "subject", "text", "html"),
    *("attachments", "tags", "headers"),
)
_NAME = re.compile(r"[!-9;-~]{1,76}")  # of a field (RFC 5322 3.6.8)
_KIND = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,60}/[A-Za-z0-9!#$&^_.+-]{1,60}")
# Fields that have a place of their own in the request, or that the parts need.
_OWN = ("from", "to", "cc", "bcc", "reply-to", "subject", "mime-version")


class SendPath:
    """The path `/api/v1/send`."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def send(self, request: Request) -> Response:
        """Store the mail of a request, and return its id."""
        only(request)
        fields = _lowered("the request", await _json(request), _FIELDS)
        offer, (made, now) = self._context.offer, self._context.ids()
        envelope = self._envelope(fields, request)
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(None, _body, fields, f"{made}@{offer.domain}", now)
        if len(body) > offer.max_message_size:
            raise HTTPException(413, f"expected a message of at most {offer.max_message_size}")
        await self._keep(Message(made, now, envelope, body))
        return Json({"ID": made})

    def _envelope(self, fields: dict[str, Any], request: Request) -> Envelope:
        _, sender = _person("From", fields.get("from"))
        people = [one for name in ("To", "Cc") for one in _people(name, fields)]
        addresses = [address for _, address in people]
        addresses += [_address("Bcc", one) for one in _texts("Bcc", fields.get("bcc"))]
        offer = self._context.offer
        if not 1 <= len(addresses) <= offer.max_recipients:
            raise HTTPException(400, f"expected To, Cc or Bcc, {offer.max_recipients} at most")
        for address in addresses:
            if offer.recipients.refusal(address) is not None:
                raise HTTPException(400, f"{address[:100]!a}: SMTP_RECIPIENTS does not allow it")
        client = request.client
        peer = "" if client is None else f"{client.host}:{client.port}"
        return Envelope(
            sender,
            tuple(Recipient(one) for one in dict.fromkeys(addresses)),
            peer=peer,
            protocol="HTTP",
            domain=offer.domain,
        )

    async def _keep(self, message: Message) -> None:
        """Store a message; what was begun goes on if the client leaves."""
        future = self._context.store.put(message)
        future.add_done_callback(lambda done: self._put_ended(message, done))
        await asyncio.wait([future], timeout=STORE_SECONDS)
        if not future.done() or future.exception() is not None:
            raise HTTPException(503, "the store does not take the message now")

    def _put_ended(self, message: Message, future: asyncio.Future[None]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._context.arrivals.publish(message)


async def _json(request: Request) -> object:
    try:
        return json.loads(await body_of(request))
    except (ValueError, RecursionError):
        return None


def _lowered(what: str, value: object, known: tuple[str, ...]) -> dict[str, Any]:
    """Return an object with its names in lower case, as Go reads JSON; or answer 400."""
    fields = {name.lower(): one for name, one in value.items()} if isinstance(value, dict) else None
    if fields is None or set(fields) - set(known):
        raise HTTPException(400, f"{what}: expected an object with {', '.join(known)}")
    return fields


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise HTTPException(400, f"{name}: expected text")
    return value


def _texts(name: str, value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise HTTPException(400, f"{name}: expected a list")
    return [_text(name, one) for one in value]


def _address(name: str, value: object) -> str:
    text = _text(name, value)
    try:
        address, rest = parse_path(f"<{text}>")
    except AddressError:
        address, rest = "", ""
    if not address or rest:
        raise HTTPException(400, f"{name}: {text[:100]!a}: expected an address")
    return address


def _person(name: str, value: object) -> tuple[str, str]:
    """Return name and address of `{"Name": …, "Email": …}`."""
    fields = _lowered(name, value, ("name", "email"))
    return _text(name, fields.get("name")), _address(name, fields.get("email"))


def _people(name: str, fields: dict[str, Any]) -> list[tuple[str, str]]:
    value = fields.get(name.lower()) or []
    if not isinstance(value, list):
        raise HTTPException(400, f'{name}: expected [{{"Name": "Ann", "Email": "ann@x.test"}}]')
    return [_person(name, one) for one in value]


def _body(fields: dict[str, Any], message_id: str, now: float) -> bytes:
    """Return the mail; in a thread, since there may be a MiB of it."""
    from email import policy  # slow to import, and for this path alone
    from email.message import EmailMessage
    from email.utils import formatdate

    mail = EmailMessage(policy=policy.SMTP)
    try:
        mail["From"] = _shown(_person("From", fields.get("from")))
        for name in ("To", "Cc", "ReplyTo"):
            if people := _people(name, fields):
                mail["Reply-To" if name == "ReplyTo" else name] = ", ".join(map(_shown, people))
        mail["Subject"] = _text("Subject", fields.get("subject"))
        if tags := _texts("Tags", fields.get("tags")):
            mail["X-Tags"] = ", ".join(tags)
        _add_headers(mail, fields.get("headers"))
        for name, value in (("Date", formatdate(now)), ("Message-ID", f"<{message_id}>")):
            if name not in mail:
                mail[name] = value
        _add_texts(mail, fields)
        for one in fields.get("attachments") or []:
            _attach(mail, one)
        return mail.as_bytes()
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise HTTPException(400, "the fields make no mail: expected text of one line") from error


def _shown(person: tuple[str, str]) -> str:
    from email.utils import formataddr

    name, address = person
    if any(one in name for one in "\r\n"):
        raise HTTPException(400, "Name: expected text of one line")
    return formataddr((name, address)) if address.isascii() else f"<{address}>"


def _add_headers(mail: EmailMessage, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        raise HTTPException(400, "Headers: expected an object")
    for name, text in value.items():
        is_own = name.lower() in _OWN or name.lower().startswith("content-")
        if is_own or _NAME.fullmatch(name) is None:
            raise HTTPException(400, f"Headers: {name[:100]!a}: expected a name of no other field")
        mail[name] = _text(name, text)


def _add_texts(mail: EmailMessage, fields: dict[str, Any]) -> None:
    text, html = _text("Text", fields.get("text")), _text("HTML", fields.get("html"))
    if text or not html:
        mail.set_content(text)
        if html:
            mail.add_alternative(html, subtype="html")
    else:
        mail.set_content(html, subtype="html")


def _attach(mail: EmailMessage, value: object) -> None:
    names = ("content", "filename", "contenttype", "contentid")
    fields = _lowered("Attachments", value, names)
    content, kind = _text("Content", fields.get("content")), fields.get("contenttype")
    kind = _text("ContentType", kind) or "application/octet-stream"
    cid = _text("ContentID", fields.get("contentid"))
    try:
        octets = base64.b64decode(content, validate=True)
    except ValueError:
        raise HTTPException(400, "Attachments: Content: expected base64") from None
    if _KIND.fullmatch(kind) is None:
        raise HTTPException(400, f"Attachments: ContentType: {kind[:100]!a}: expected type/subtype")
    main, _, sub = kind.partition("/")
    mail.add_attachment(
        octets,
        maintype=main,
        subtype=sub,
        filename=_text("Filename", fields.get("filename")) or None,
        disposition="inline" if cid else "attachment",
        cid=f"<{cid}>" if cid else None,
    )
