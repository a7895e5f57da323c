"""The load driver against servers whose every answer is known."""

import asyncio

import pytest

from prixfixe.load import SCENARIOS, Outcome, Plan, letter_to, run
from prixfixe.load.plan import CLIENTS, divided
from prixfixe.load.post import END, message

REPLIES = {b"EHLO": b"250-x\r\n250 y\r\n", b"MAIL": b"250 ok\r\n", b"RCPT": b"250 ok\r\n"}
REPLIES |= {b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n"}


class Scripted:
    """A server that answers the n-th message's data as it is told to."""

    def __init__(self, answer):
        self.answer = answer  # number -> bytes, or None to hang up
        self.bodies = []
        self.lines = []
        self.connections = 0

    async def serve(self, reader, writer):
        self.connections += 1
        writer.write(b"220 x\r\n")
        try:
            while line := await reader.readline():
                writer.write(REPLIES[line[:4]])
                self.lines.append(line)
                if line[:4] == b"DATA":
                    self.bodies.append(await reader.readuntil(b"\r\n.\r\n"))
                    answer = self.answer(len(self.bodies) - 1)
                    if asyncio.iscoroutine(answer):
                        answer = await answer
                    if answer is None:
                        break
                    writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


async def against(answer, **plan):
    scripted = Scripted(answer)
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await run(Plan("127.0.0.1", port, **plan)), scripted


async def test_every_message_is_accepted_once_and_arrives_whole():
    outcome, server = await against(lambda n: b"250 ok\r\n", messages=25, workers=4)
    assert (outcome.accepted, outcome.refused, outcome.failed) == (25, 0, 0)
    assert sorted(server.bodies) == sorted(message(n, 1024) for n in range(25))
    assert server.connections == 4
    assert len(outcome.latencies) == 25
    assert outcome.octets == sum(len(body) - len(END) for body in server.bodies)
    assert outcome.throughput.total() == 25


async def test_codes_and_errors_are_counted_apart():
    answers = {3: b"451 later\r\n", 5: b"552 big\r\n", 7: None, 8: b"451 later\r\n"}
    outcome, server = await against(lambda n: answers.get(n, b"250 ok\r\n"), messages=20, workers=1)
    assert outcome.codes == {250: 16, 451: 2, 552: 1}
    assert outcome.errors == {"EOFError": 1}
    assert outcome.accepted + outcome.refused + outcome.failed == 20
    assert outcome.throughput.total() + outcome.trouble.total() == 20
    assert len(server.bodies) == 20


class Account:
    """Letters that can be told apart, and the codes they got."""

    def __init__(self):
        self.codes = {}

    def letter(self, number, size):
        return letter_to(
            f"s{number}@a.test", f"r{number}@b.test", b"..\r\n%d of %d\r\n.\r\n" % (number, size)
        )

    def answered(self, number, code):
        self.codes[number] = code


@pytest.mark.parametrize(
    "way", [{"is_piped": False}, {"is_piped": True}, {"client": "aiosmtplib"}], ids=str
)
async def test_a_post_writes_the_letters_and_is_told_every_answer(way):
    answers = {1: b"451 later\r\n", 2: None}
    scripted, post = Scripted(lambda n: answers.get(n, b"250 ok\r\n")), Account()
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        plan = Plan("127.0.0.1", port, messages=4, workers=1, sizes=(7, 8), **way)
        outcome = await run(plan, post)
    assert post.codes == {0: 250, 1: 451, 3: 250}
    assert outcome.codes == {250: 2, 451: 1}
    assert scripted.bodies == [post.letter(n, 7 + n % 2).data for n in range(4)]
    said = [line for line in scripted.lines if line.startswith((b"MAIL", b"RCPT"))]
    assert said == [line for n in range(4) for line in post.letter(n, 0)[:2]]


async def test_a_server_that_is_not_there_is_an_error_of_every_message(closed_port):
    outcome = await run(Plan("127.0.0.1", closed_port, messages=3, workers=2))
    assert outcome.errors == {"ConnectionRefusedError": 3}


async def test_a_250_to_another_command_is_no_message(monkeypatch):
    monkeypatch.setitem(REPLIES, b"DATA", b"250 what\r\n")
    server = await asyncio.start_server(Scripted(lambda n: b"250 ok\r\n").serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        outcome = await run(Plan("127.0.0.1", port, messages=3, workers=1))
    assert (outcome.accepted, outcome.errors) == (0, {"UnexpectedReply": 3})


@pytest.mark.parametrize("is_piped", [False, True])
async def test_a_refused_recipient_is_its_code(is_piped, monkeypatch):
    monkeypatch.setitem(REPLIES, b"RCPT", b"550 no\r\n")
    monkeypatch.setitem(REPLIES, b"DATA", b"503 no\r\n")
    plan = {"messages": 4, "workers": 1, "is_piped": is_piped}
    scripted = Scripted(lambda n: b"250 ok\r\n")
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    async with server:
        outcome = await run(Plan("127.0.0.1", server.sockets[0].getsockname()[1], **plan))
    assert outcome.codes == {550: 4}


async def test_own_connections_are_one_a_message():
    outcome, server = await against(
        lambda n: b"250 ok\r\n", messages=6, workers=2, is_own=True, is_piped=True
    )
    assert (outcome.accepted, server.connections) == (6, 6)


async def test_an_open_loop_charges_a_stall_to_all_who_were_due():
    stall = 0.3

    async def first_is_slow(number):
        await asyncio.sleep(stall if number == 0 else 0)
        return b"250 ok\r\n"

    plan = {"messages": 10, "workers": 1}
    closed, _ = await against(first_is_slow, **plan)
    opened, _ = await against(first_is_slow, rate=1000.0, **plan)
    # The closed loop saw one slow message; in truth all ten were due within 10 ms.
    assert closed.percentile(0) < stall - 0.02
    assert opened.percentile(0) >= stall - 0.02


async def test_a_cancelled_run_says_what_was_done_so_far():
    reached = asyncio.Event()

    async def third_stalls(number):
        if number == 3:
            reached.set()
            await asyncio.Event().wait()
        return b"250 ok\r\n"

    outcome = Outcome()
    server = await asyncio.start_server(Scripted(third_stalls).serve, "127.0.0.1", 0)
    plan = Plan("127.0.0.1", server.sockets[0].getsockname()[1], messages=10, workers=1)
    running = asyncio.ensure_future(run(plan, outcome=outcome))
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    server.close()
    assert (outcome.codes, outcome.errors) == ({250: 3}, {"Interrupted": 1})
    assert outcome.seconds > 0


async def test_a_server_that_offers_only_login_is_asked_for_it(monkeypatch):
    monkeypatch.setitem(REPLIES, b"EHLO", b"250-x\r\n250-SIZE\r\n250 AUTH LOGIN CRAM-MD5\r\n")
    monkeypatch.setitem(REPLIES, b"AUTH", b"334 user\r\n")
    monkeypatch.setitem(REPLIES, b"dXNl", b"334 password\r\n")  # what "user" begins with
    monkeypatch.setitem(REPLIES, b"c2Vj", b"235 welcome\r\n")
    outcome, _ = await against(lambda n: b"250 ok\r\n", messages=1, login=("user", "secret"))
    assert outcome.codes == {250: 1}


# --- both clients


@pytest.mark.parametrize("is_own", [False, True])
async def test_both_clients_count_alike_and_leave_the_same_octets(start, is_own):
    running = await start(
        SMTP_TLS_CERT="self-signed", SMTP_AUTH="any", SMTP_MAX_MESSAGE_SIZE="64KiB"
    )
    plan = {"messages": 20, "workers": 3, "sizes": (1024, 102400, 10240), "is_own": is_own}
    plan |= {"starttls": True, "login": ("user", "secret")}
    outcomes, kept = [], []
    for client in CLIENTS:
        before = len(running.messages)
        outcomes.append(await run(Plan("127.0.0.1", running.port, client=client, **plan)))
        kept.append(sorted(one.body for one in running.messages[before:]))
    assert (
        kept[0]
        == kept[1]
        == sorted(
            message(n, 1024)[:-3] if n % 3 == 0 else message(n, 10240)[:-3]
            for n in range(20)
            if n % 3 != 1
        )
    )
    ours, theirs = outcomes
    assert ours.codes == theirs.codes == {250: 13, 552: 7}
    assert ours.octets == theirs.octets == sum(map(len, kept[0]))
    assert len(ours.latencies) == len(theirs.latencies) == 13


@pytest.mark.parametrize("client", CLIENTS)
async def test_both_clients_name_errors_alike(client, monkeypatch):
    hung_up, _ = await against(lambda n: None, messages=2, workers=1, client=client)
    assert hung_up.errors == {"EOFError": 2}
    assert (await run(Plan("127.0.0.1", 1, messages=2, client=client))).errors == {
        "ConnectionRefusedError": 2
    }

    async def never(number):
        await asyncio.sleep(1)

    silent, _ = await against(never, messages=1, workers=1, client=client, timeout=0.05)
    assert silent.errors == {"TimeoutError": 1}
    monkeypatch.setitem(REPLIES, b"QUIT", b"what?\r\n")
    rude, _ = await against(lambda n: b"250 ok\r\n", messages=2, workers=1, client=client)
    assert (rude.codes, rude.errors) == ({250: 2}, {})
    monkeypatch.setitem(REPLIES, b"MAIL", b"what?\r\n")
    garbled, _ = await against(lambda n: b"250 ok\r\n", messages=2, workers=1, client=client)
    assert (garbled.codes, garbled.errors) == ({}, {"ValueError": 2})
    monkeypatch.setitem(REPLIES, b"MAIL", b"550 no\r\n")
    refused, _ = await against(lambda n: b"250 ok\r\n", messages=2, workers=1, client=client)
    assert (refused.codes, refused.errors) == ({550: 2}, {})


async def test_an_open_loop_begins_at_its_phase():
    outcome, _ = await against(lambda n: b"250 ok\r\n", messages=1, rate=5.0, phase=0.5)
    assert outcome.seconds >= 0.1


@pytest.mark.parametrize("size", [1, 100, 1024, 10240])
def test_messages_have_the_size_asked_for(size):
    octets = message(1, size)
    assert octets.endswith(b"\r\n.\r\n")
    assert octets.count(b"\r\n.\r\n") == 1
    assert abs(len(octets) - 3 - max(size, 45)) < 8


async def test_starttls_login_and_the_store_agree_with_the_count(start):
    running = await start(
        SMTP_TLS_CERT="self-signed", SMTP_AUTH="any", SMTP_MAX_MESSAGE_SIZE="1MiB"
    )
    outcome = await run(
        Plan(
            "127.0.0.1",
            running.port,
            messages=12,
            workers=3,
            sizes=(1024, 102400),
            starttls=True,
            login=("user", "secret"),
        )
    )
    assert outcome.codes == {250: 12}
    kept = sorted(one.body for one in running.messages)
    assert kept == sorted(message(n, (1024, 102400)[n % 2])[:-3] for n in range(12))
    assert {one.envelope.protocol for one in running.messages} == {"ESMTPSA"}


def test_scenarios_are_what_the_documents_say():
    quick, burst = SCENARIOS["quick"], SCENARIOS["burst"]
    assert (quick.messages, burst.messages, burst.workers, burst.sizes) == (100, 5000, 50, (10240,))
    sustained, heavy = SCENARIOS["sustained"], SCENARIOS["heavy"]
    assert (sustained.rate, sustained.messages / sustained.rate) == (50, 60)
    assert (heavy.messages, heavy.workers) == (10_000, 100)
    assert set(SCENARIOS["mixed"].sizes) == {1024, 10240, 102400, 1048576}


def test_parts_of_a_plan_add_up_to_it():
    plan = Plan(messages=103, workers=4, rate=50.0)
    parts = divided(plan, [("127.0.0.1", port) for port in (1, 2, 3, 4, 5)])
    assert [part.messages for part in parts] == [21, 21, 21, 20, 20]
    assert [part.workers for part in parts] == [1] * 5
    assert [part.rate for part in parts] == [10.0] * 5
    assert [part.phase for part in parts] == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert [part.port for part in parts] == [1, 2, 3, 4, 5]
