"""Addresses that are faults, and Mailpit's chaos, over real sockets."""

import asyncio
import time

import pytest

from prixfixe.faults.magic import MAX_ADDRESSES, MEMORY_SECONDS, Magic
from prixfixe.faults.rule import Known
from prixfixe.smtp.hindrance import Facts
from tests.conftest import until

BODY = b"Subject: x\r\n\r\nhello\r\n.\r\n"


@pytest.fixture
def serve(start):
    async def serve(**variables):
        return await start(SMTP_HTTP_PORT="0", **{"SMTP_FAULTS": "true", **variables})

    return serve


async def send(running, to):
    """Send one mail to one address; return the codes of RCPT, DATA and the end of the data."""
    wire = await running.say_hello()
    codes = await wire.ask(f"MAIL FROM:<a@x.test>\r\nRCPT TO:<{to}>\r\n".encode(), 2)
    if codes[1] == 250:
        codes += await wire.ask(b"DATA\r\n")
    if codes[-1] == 354:
        codes += await wire.ask(BODY)
    wire.close()
    return codes[1:]


async def test_addresses_refuse(serve):
    running = await serve()
    for to, codes in [
        ("fault-451@y.test", [451]),
        ("FAULT-550@y.test", [550]),
        ("fault-552-data@y.test", [250, 552]),
        ("fault-554-eod@y.test", [250, 354, 554]),
        ("fault-450-x2+anna@y.test", [450]),
        ("fault-450-x2+anna@y.test", [450]),
        ("fault-450-x2+anna@y.test", [250, 354, 250]),
        ("fault-450-x2+bert@y.test", [450]),  # each address counts for itself
        ("fault-450-x2+anna@z.test", [450]),
        ("delay-1ms-eod-x1@y.test", [250, 354, 250]),
    ]:
        assert await send(running, to) == codes, to


@pytest.mark.parametrize(
    "name",
    [
        *(
            "fault-250",
            "fault-354",
            "fault-600",
            "fault-45",
            "fault",
            "fault-",
            "delay-3",
            "delay-s",
        ),
        *("fault-451-x0", "fault-451-mail", "fault-451x", "afault-451", "fault-close-1-eod"),
        *("delay-3s-x", "fault-451-x9999999", "drop", "fault-4５1"),
    ],
)
def test_other_addresses_are_none(name):
    for stage in ("rcpt", "data", "eod"):
        facts = Facts(stage, "192.0.2.1:1", "c", "a@x.test", (f"{name}@y.test",))
        assert Magic().rule(Known(facts), 0.0) is None


async def test_without_the_setting_an_address_is_an_address(serve):
    running = await serve(SMTP_FAULTS="false")
    assert await send(running, "fault-451@y.test") == [250, 354, 250]


@pytest.mark.parametrize("stage", ["", "-data", "-eod"])
async def test_addresses_drop_and_stall(serve, stage):
    running = await serve()
    octets = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<%b@y.test>\r\nDATA\r\n"
    for name in ("fault-drop", "fault-stall"):
        wire = await running.say_hello()
        await wire.send(octets % (name + stage).encode() + BODY)
        if name == "fault-stall":
            await until(lambda: running.server.faults.held)
            wire.writer.write_eof()
        assert await wire.is_cut()
    await until(lambda: not running.server.roster.connections)
    assert running.messages == []


async def test_an_address_cuts_a_message_short(serve):
    running = await serve()
    wire = await running.say_hello()
    octets = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<fault-close-100@y.test>\r\nDATA\r\n"
    assert await wire.ask(octets, 3) == [250, 250, 354]
    await wire.send(b"x" * 98 + b"\r\n")
    assert await wire.is_cut()


async def test_an_address_delays(serve):
    running = await serve()
    since = time.monotonic()
    assert await send(running, "delay-200ms@y.test") == [250, 354, 250]
    assert time.monotonic() - since > 0.19


def test_addresses_that_are_remembered_are_bounded():
    magic = Magic()

    def hit(name, now=0.0):
        rule = magic.rule(Known(Facts("rcpt", "p", "c", "a@x", (f"{name}@y.test",))), now)
        if rule is not None:
            rule.hits += 1
        return rule is not None

    assert hit("fault-451-x1+first")
    assert not hit("fault-451-x1+first", MEMORY_SECONDS - 1)
    assert hit("fault-451-x1+first", 3 * MEMORY_SECONDS)  # not used for long: it counts anew
    for number in range(MAX_ADDRESSES * 2):
        assert hit(f"fault-451-x1+{number}", 3 * MEMORY_SECONDS)
    assert len(magic._rules) == MAX_ADDRESSES
    assert hit("fault-451-x1+first", 3 * MEMORY_SECONDS)
    assert not hit(f"fault-451-x1+{MAX_ADDRESSES * 2 - 1}", 3 * MEMORY_SECONDS)


async def test_an_address_tells_its_attempts(serve, client):
    running = await serve()
    await send(running, "fault-451@y.test")
    found = await client.get(f"{running.http}/api/v1/attempts", params={"to": "@y.test"})
    (record,) = found.json()["attempts"]
    assert (record["Reply"], record["Reason"]) == ("451 4.0.0 This address is a fault", "fault")


# --- chaos


async def test_chaos_as_mailpit_has_it(serve, client):
    running = await serve(SMTP_AUTH="any", SMTP_AUTH_INSECURE="true")
    url = f"{running.http}/api/v1/chaos"
    quiet = {
        "Sender": {"ErrorCode": 451, "Probability": 0},
        "Recipient": {"ErrorCode": 451, "Probability": 0},
        "Authentication": {"ErrorCode": 535, "Probability": 0},
    }
    assert (await client.get(url)).json() == quiet
    asked = {"Recipient": {"ErrorCode": 450, "Probability": 100}}
    assert (await client.put(url, json=asked)).json() == {**quiet, **asked}
    assert await send(running, "b@y.test") == [450]
    for name, code, line in [
        ("Sender", 452, b"MAIL FROM:<a@x.test>\r\n"),
        ("Authentication", 599, b"AUTH PLAIN AGEAYg==\r\n"),
    ]:
        asked = {name: {"ErrorCode": code, "Probability": 100}}
        assert (await client.put(url, json=asked)).json() == {**quiet, **asked}
        wire = await running.say_hello()
        assert await wire.ask(line) == [code]
    assert (await client.put(url, json={})).json() == quiet
    assert await send(running, "b@y.test") == [250, 354, 250]
    assert (await client.get(f"{running.http}/api/v1/faults")).json() == {"faults": []}


async def test_chaos_has_a_probability(serve, client):
    running = await serve()
    draws = iter([0.29, 0.31])
    running.server.faults._draw = lambda: next(draws)
    asked = {"Recipient": {"ErrorCode": 450, "Probability": 30}}
    await client.put(f"{running.http}/api/v1/chaos", json=asked)
    assert await send(running, "b@y.test") == [450]
    assert await send(running, "b@y.test") == [250, 354, 250]


async def test_wrong_chaos_is_told(serve, client):
    running = await serve()
    url = f"{running.http}/api/v1/chaos"
    for asked, told in [
        ({"Sender": {"ErrorCode": 250, "Probability": 1}}, "Sender.ErrorCode: 250: expected"),
        ({"Sender": {"ErrorCode": 451, "Probability": 101}}, "Sender.Probability: 101: expected"),
        ({"Sender": {"ErrorCode": 451}}, "Sender: {"),
        ({"Receiver": {"ErrorCode": 451, "Probability": 1}}, "chaos: 'receiver': expected sender"),
        ([], "expected a JSON object"),
    ]:
        answer = await client.put(url, json=asked)
        assert answer.status_code == 400
        assert told in answer.json()["Error"]
    off = await serve(SMTP_FAULTS="false")
    url = f"{off.http}/api/v1/chaos"
    for answer in await asyncio.gather(client.get(url), client.put(url, json={})):
        assert answer.status_code == 400
        assert "SMTP_FAULTS=true" in answer.json()["Error"]
