"""Mailpit's path to send: what it stores, and what it refuses."""

import asyncio
import base64

import pytest

from tests.unit.test_connection import GatedStore

MAIL = {
    "From": {"Name": "Ann, née B", "Email": "ann@x.test"},
    "To": [{"Name": "Bob", "Email": "bob@y.test"}, {"Email": "eve@y.test"}],
    "Cc": [{"Email": "cc@y.test"}],
    "Bcc": ["bcc@y.test"],
    "ReplyTo": [{"Email": "reply@x.test"}],
    "Subject": "Grüße",
    "Text": "hello\nyou",
    "HTML": "<p>hello</p>",
    "Attachments": [
        {
            "Content": base64.b64encode(b"\0\1\2").decode(),
            "Filename": "a b.bin",
            "ContentType": "image/png",
        },
        {"Content": "AAEC", "Filename": "i.png", "ContentType": "image/png", "ContentID": "c1"},
    ],
    "Tags": ["Red", "Blue"],
    "Headers": {"X-Case": "Kept"},
}
LEAST = {"From": {"Email": "a@x.test"}, "To": [{"Email": "b@y.test"}]}


async def test_a_mail_is_stored_and_found(serve, client):
    running = await serve()
    api = f"{running.http}/api/v1"
    wait = asyncio.create_task(client.get(f"{api}/wait", params={"to": "bcc@y.test"}))
    answer = await client.post(f"{api}/send", json=MAIL)
    assert answer.status_code == 200, answer.text
    name = answer.json()["ID"]
    assert [one["ID"] for one in (await wait).json()["messages"]] == [name]
    one = (await client.get(f"{api}/message/{name}")).json()
    assert one["From"] == {"Name": "Ann, née B", "Address": "ann@x.test"}
    assert [each["Address"] for each in one["To"]] == ["bob@y.test", "eve@y.test"]
    assert [each["Address"] for each in one["Bcc"]] == ["bcc@y.test"]
    assert one["Subject"] == "Grüße"
    assert one["Text"].replace("\r\n", "\n") == "hello\nyou\n"
    assert one["HTML"].strip() == "<p>hello</p>"
    assert one["Tags"] == ["Blue", "Red"] or one["Tags"] == ["Red", "Blue"]
    assert [each["FileName"] for each in one["Attachments"]] == ["a b.bin"]
    assert [(each["FileName"], each["ContentID"]) for each in one["Inline"]] == [("i.png", "c1")]
    assert one["ListUnsubscribe"]["Header"] == ""
    headers = (await client.get(f"{api}/message/{name}/headers")).json()
    assert headers["X-Case"] == ["Kept"]
    assert "Bcc" not in headers
    (message,) = running.messages
    assert b"\n" not in message.body.replace(b"\r\n", b"")
    assert message.envelope.protocol == "HTTP"
    assert message.envelope.peer.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"HTML": "<b>x</b>"},
        {"Subject": None, "Attachments": None, "Tags": None, "Headers": None, "Bcc": None},
        {"to": [{"NAME": "x", "eMail": "b@y.test"}], "To": None},
        {"Bcc": ["jörg@y.test"]},
        {"To": [{"Name": "Jörg", "Email": "jörg@y.test"}]},
        {"Headers": {"Date": "Mon, 30 Nov 2026 01:02:03 +0000", "Message-ID": "<m@x>"}},
    ],
)
async def test_little_is_enough(serve, client, more):
    running = await serve()
    asked = {name: one for name, one in {**LEAST, **more}.items() if (name, one) != ("To", None)}
    answer = await client.post(f"{running.http}/api/v1/send", json=asked)
    assert answer.status_code == 200, answer.text
    assert len(running.messages) == 1


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ({}, 400, "From: expected an object with name, email"),
        ({"From": LEAST["From"]}, 400, "expected To, Cc or Bcc"),
        (
            {**LEAST, "From": {"Email": "no address"}},
            400,
            "From: 'no address': expected an address",
        ),
        ({**LEAST, "From": {"Email": "a@x.test>\r\nRCPT"}}, 400, "expected an address"),
        ({**LEAST, "To": "b@y.test"}, 400, "To: expected"),
        ({**LEAST, "To": [{"Email": ""}]}, 400, "To: '': expected an address"),
        ({**LEAST, "Bcc": "b@y.test"}, 400, "Bcc: expected a list"),
        ({**LEAST, "Too": []}, 400, "expected an object with from, to"),
        ({**LEAST, "Subject": "a\r\nBcc: x@y.test"}, 400, "expected text of one line"),
        ({**LEAST, "Subject": 7}, 400, "Subject: expected text"),
        ({**LEAST, "From": {"Name": "a\nb", "Email": "a@x.test"}}, 400, "text of one line"),
        ({**LEAST, "Headers": {"X-A": "b\r\nX-C: d"}}, 400, "text of one line"),
        ({**LEAST, "Headers": {"X A": "b"}}, 400, "Headers: 'X A': expected a name"),
        ({**LEAST, "Headers": {"Content-Type": "x"}}, 400, "Headers: 'Content-Type'"),
        ({**LEAST, "Headers": []}, 400, "Headers: expected an object"),
        ({**LEAST, "Tags": ["a\r\nb"]}, 400, "text of one line"),
        ({**LEAST, "Text": "\ud800"}, 400, "make no mail"),
        ({**LEAST, "Attachments": [{"Content": "!"}]}, 400, "Content: expected base64"),
        ({**LEAST, "Attachments": [{"Content": "AA==", "ContentType": "x"}]}, 400, "type/subtype"),
        ({**LEAST, "Attachments": 7}, 400, "make no mail"),
        ([], 400, "expected an object"),
        ({**LEAST, "To": [{"Email": f"{n}@y.test"} for n in range(3)]}, 400, "2 at most"),
        ({**LEAST, "To": [{"Email": "b@else.test"}]}, 400, "SMTP_RECIPIENTS does not allow it"),
        ({**LEAST, "Text": "x\n" * 2000}, 413, "expected a message of at most 2048"),
    ],
)
async def test_what_makes_no_mail_is_told(serve, client, asked, status, told):
    import json

    limits = {"SMTP_MAX_MESSAGE_SIZE": "2048", "SMTP_MAX_RECIPIENTS": "2"}
    running = await serve(**limits, SMTP_RECIPIENTS="@y.test")
    answer = await client.post(f"{running.http}/api/v1/send", content=json.dumps(asked))
    assert answer.status_code == status
    assert told in answer.json()["Error"]
    assert running.messages == []


async def test_a_store_that_fails_is_told(serve, client):
    from prixfixe.stores.base import StoreError

    store = GatedStore()
    store.error = StoreError("full", kind="full")
    store.gate.set()
    running = await serve(store)
    answer = await client.post(f"{running.http}/api/v1/send", json=LEAST)
    assert answer.status_code == 503
    assert running.messages == []


async def test_the_token_and_the_origin_guard_it(serve, client):
    running = await serve(SMTP_HTTP_TOKEN="secret")
    url = f"{running.http}/api/v1/send"
    assert (await client.post(url, json=LEAST)).status_code == 401
    headers = {"Authorization": "Bearer secret", "Origin": "http://evil.example"}
    assert (await client.post(url, json=LEAST, headers=headers)).status_code == 403


async def test_webui(serve, client):
    running = await serve(SMTP_FAULTS="true")
    told = (await client.get(f"{running.http}/api/v1/webui")).json()
    assert told["ChaosEnabled"] is True
    assert told["MessageRelay"]["Enabled"] is False
    running = await serve()
    assert (await client.get(f"{running.http}/api/v1/webui")).json()["ChaosEnabled"] is False
