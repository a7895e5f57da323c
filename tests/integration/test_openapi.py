"""docs/openapi.yaml: it describes every path, and real answers are as it says."""

import re
from dataclasses import fields
from pathlib import Path

import httpx
import jsonschema
import pytest
import yaml
from starlette.routing import Route

from prixfixe.settings import Settings
from tests.conftest import PATIENCE
from tests.unit.test_http import MAIL, deliver

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())
METHODS = ("get", "put", "post", "delete")
SPOKEN = re.compile(r"/(api|view)/|/(livez|readyz|healthz|metrics)$")


def operations():
    """Return each operation by method and path."""
    return {
        (method.upper(), path): {"parameters": [], **item, **item[method]}
        for path, item in DOCUMENT["paths"].items()
        for method in METHODS
        if method in item
    }


def resolved(part):
    """Return a part of the document, or what its reference names."""
    while "$ref" in part:
        found = DOCUMENT
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def references(part):
    """Yield every reference in a part of the document."""
    for key, value in part.items() if isinstance(part, dict) else enumerate(part):
        if key == "$ref":
            yield value
        elif isinstance(value, dict | list):
            yield from references(value)


def check(answer, method, path):
    """Hold an answer against the document; an error that all paths share needs no entry."""
    kind = answer.headers.get("content-type", "").partition(";")[0]
    responses = operations()[method, path]["responses"]
    if str(answer.status_code) in responses:
        described = resolved(responses[str(answer.status_code)]).get("content")
        if described is None:
            assert answer.content == b""
            return None
    else:
        assert answer.status_code >= 400, (method, path, answer.status_code)
        described = DOCUMENT["components"]["responses"]["Error"]["content"]
    assert kind in described or "*/*" in described, (method, path, kind)
    value = answer.json() if kind == "application/json" else answer.text
    if kind in described:
        schema = {**described[kind]["schema"], "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(schema).validate(value)
    return value


# --- the document by itself


def test_every_schema_is_one_and_every_reference_leads_somewhere():
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert all(resolved({"$ref": one}) for one in references(DOCUMENT))
    names = [each["operationId"] for each in operations().values()]
    assert len(set(names)) == len(names)


def test_every_part_of_a_path_is_a_parameter():
    for (method, path), operation in operations().items():
        named = {
            resolved(one)["name"]
            for one in operation["parameters"]
            if resolved(one)["in"] == "path"
        }
        assert named == set(re.findall(r"\{(\w+)\}", path)), (method, path)


# --- the server


@pytest.fixture
def made(monkeypatch):
    """The routes that are made while the test runs."""
    found, make = [], Route.__init__

    def noted(route, *args, **more):
        make(route, *args, **more)
        found.append(route)

    monkeypatch.setattr(Route, "__init__", noted)
    return found


@pytest.fixture
async def server(made, start):
    """A server with a way to ask it; `made` has its routes."""
    more = {"SMTP_FAULTS": "true"} if "faults" in {one.name for one in fields(Settings)} else {}
    running = await start(SMTP_HTTP_PORT="0", SMTP_DOMAIN="mx.example.org", **more)
    async with httpx.AsyncClient(base_url=running.http, timeout=PATIENCE) as client:
        running.client = client
        yield running


def test_a_path_is_described_or_no_path_of_the_api():
    assert SPOKEN.match("/api/v1/info")
    assert SPOKEN.match("/readyz")
    assert not SPOKEN.match("/app.js")


async def test_every_path_is_described(server, made):
    served = {
        (method, route.path)
        for route in made
        for method in route.methods - {"HEAD"}
        if SPOKEN.match(route.path)
    }
    assert served == set(operations()), "docs/openapi.yaml must describe what is served"


async def test_every_answer_is_as_described(server):
    kept = [
        await deliver(server, b"X-Tags: Red\r\nList-Unsubscribe: <https://x.test/u>\r\n" + MAIL),
        await deliver(server, b"Subject: two\r\nFrom: \xff <\r\n\r\nwords\r\n"),
        await deliver(server, b"Subject: three\r\n\r\n"),
    ]
    asked = set()

    async def ask(method, path, status=200, /, *, params=None, json=None, **names):
        answer = await server.client.request(
            method, path.format(**names), params=params or {}, json=json
        )
        assert answer.status_code == status, (method, path, answer.text)
        asked.add((method, path))
        return check(answer, method, path)

    for path in ("/livez", "/readyz", "/healthz", "/metrics", "/api/v1/info", "/api/v1/tags"):
        await ask("GET", path)
    one, messages, search = "/api/v1/message/{id}", "/api/v1/messages", "/api/v1/search"
    for path in (one, *(f"{one}/{more}" for more in ("raw", "headers", "envelope", "tree"))):
        for name in (*kept, "latest"):
            await ask("GET", path, id=name)
        await ask("GET", path, params={"query": "subject:two"}, id="latest")
        await ask("GET", path, 404, id="none")
        await ask("GET", path, 400, params={"form": "x"}, id="latest")
    taken = await ask("GET", one, id=kept[0])
    assert taken["Attachments"]
    for part in (each["PartID"] for each in taken["Attachments"] + taken["Inline"]):
        await ask("GET", f"{one}/part/{{part}}", id=kept[0], part=part)
    await ask("GET", f"{one}/part/{{part}}", 404, id=kept[0], part="9.9")
    assert (await ask("GET", messages, params={"start": 1, "limit": 1}))["count"] == 1
    await ask("GET", messages, 400, params={"start": "x"})
    assert (await ask("GET", search, params={"query": "two"}))["messages_count"] == 1
    await ask("GET", search, 400)
    wait = "/api/v1/wait"
    await ask("GET", wait, params={"subject": "two", "since": kept[0]})
    await ask("GET", wait, 408, params={"to": "nobody@y.test", "timeout": "0"})
    await ask("GET", wait, 400)
    await _ask_of_waits(ask)
    await ask("PUT", messages, json={"IDs": kept[:1], "Read": True})
    await ask("PUT", messages, 400, json={"Reed": True})
    await ask("PUT", "/api/v1/tags", json={"IDs": kept[1:], "Tags": ["Blue", "Green"]})
    await ask("PUT", "/api/v1/tags/{tag}", json={"Name": "Grün"}, tag="Green")
    assert (await ask("GET", "/api/v1/info"))["Tags"] == {"Blue": 2, "Grün": 2, "Red": 1}
    await ask("GET", "/api/v1/tags")
    await ask("DELETE", "/api/v1/tags/{tag}", tag="Blue")
    await ask("DELETE", search, params={"query": "subject:three"})
    await ask("DELETE", messages, 400, json={"IDs": "x"})
    await ask("DELETE", messages, json={"IDs": kept[:1]})
    await _ask_of_faults(ask)
    await _ask_of_the_page(server, ask)
    assert asked | {("GET", "/api/v1/events")} == set(operations())


async def _ask_of_waits(ask):
    for what in ("link", "code"):
        await ask("GET", f"/api/v1/wait/{what}", 408, params={"query": "words", "timeout": "0"})
        await ask("GET", f"/api/v1/wait/{what}", 400, params={"link": "x"})
    none = "/api/v1/wait/none"
    await ask("GET", none, params={"to": "nobody@y.test"})
    await ask("GET", none, 409, params={"subject": "two"})
    await ask("GET", none, 408, params={"to": "x@y.test", "sender": "a@x.test", "timeout": "0"})


async def _ask_of_faults(ask):
    if ("GET", "/api/v1/faults") not in operations():
        return
    fault = {"match": {"to": "x@y.test"}, "stage": "rcpt", "action": {"reply": "451 4.2.1 busy"}}
    name = (await ask("POST", "/api/v1/faults", json={**fault, "times": 2, "ttl": "60s"}))["ID"]
    await ask(
        "POST",
        "/api/v1/faults",
        json={"match": {"from": "x@x.test"}, "stage": "eod", "action": {"drop": True}},
    )
    await ask(
        "POST",
        "/api/v1/faults",
        400,
        json={"match": {}, "stage": "never", "action": {"drop": True}},
    )
    trigger = {"Recipient": {"ErrorCode": 451, "Probability": 1}}
    await ask("PUT", "/api/v1/chaos", json=trigger)
    await ask("PUT", "/api/v1/chaos", 400, json={"Recipient": 1})
    await ask("PUT", "/api/v1/chaos", json={})
    await ask("GET", "/api/v1/chaos")
    await ask("GET", "/api/v1/webui")
    person = {"Name": "Ann", "Email": "ann@y.test"}
    await ask("POST", "/api/v1/send", json={"From": person, "To": [person], "Text": "x"})
    await ask("POST", "/api/v1/send", 400, json={"From": person})
    await ask("GET", "/api/v1/attempts", params={"to": "@example.com", "limit": "1"})
    await ask("GET", "/api/v1/sessions")
    await ask("GET", "/api/v1/faults")
    await ask("GET", "/api/v1/faults/{id}", id=name)
    await ask("DELETE", "/api/v1/faults/{id}", id=name)
    await ask("GET", "/api/v1/faults/{id}", 404, id=name)


async def _ask_of_the_page(server, ask):
    for ending in ("html", "txt"):
        await ask("GET", f"/view/{{id}}.{ending}", id=await deliver(server), params={"embed": "1"})
        await ask("GET", f"/view/{{id}}.{ending}", 404, id="none")
    await ask("GET", "/view/{id}", 302, id="latest")
    await ask("POST", "/view/access", 204)
    await ask("POST", "/view/{id}/remote", id="latest")
    async with server.client.stream("GET", "/api/v1/events") as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].partition(";")[0] == "text/event-stream"


async def test_what_no_path_has_is_an_error_too(server):
    for path, status in (("/api/v1/nothing", 404), ("/nothing", 404)):
        answer = await server.client.get(path)
        assert answer.status_code == status
        jsonschema.validate(answer.json(), DOCUMENT["components"]["schemas"]["Error"])


async def test_an_answer_that_is_not_as_described_is_found(server):
    answer = await server.client.get("/api/v1/info")
    with pytest.raises(AssertionError):
        check(answer, "GET", "/metrics")
    with pytest.raises(jsonschema.ValidationError):
        check(answer, "GET", "/api/v1/messages")
