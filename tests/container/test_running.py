"""A container of the image: who it is, what it may do, where it listens, what it writes."""

import json
import re
import time

import pytest

from tests.container import engine
from tests.container.box import PYTHON, READY, moment
from tests.container.profile import NOFILE, PIDS, mail_on_tmpfs
from tests.container.talk import body_of, deliver
from tests.support.log_records import faults_of_lines

# The state of a listening socket in /proc/net/tcp.
LISTENING = """
ports = set()
for name in ("/proc/net/tcp", "/proc/net/tcp6"):
    for line in open(name).read().splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        if state == "0A" and not local.startswith("0B00007F"):  # the engine's own resolver
            ports.add(int(local.rpartition(":")[2], 16))
print(*sorted(ports))
"""
WRITE = """
import errno, sys
for folder in sys.argv[1:]:
    try:
        open(folder + "/probe", "w")
        print(folder, "written")
    except OSError as error:
        print(folder, errno.errorcode[error.errno])
"""


@pytest.fixture
def status(start):
    """What the kernel says of PID 1 in a hardened container."""
    lines = start().file("/proc/1/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


# --- life


def test_becomes_healthy_soon_after_its_start(start, record_property):
    """With a fast probe within a second on an idle machine, and before a failed check counts."""
    box = start(probe=0.2, is_awaited=False)
    box.await_health("healthy")
    state = box.state
    grace = box.container.attrs["Config"]["Healthcheck"]["StartPeriod"] / 1e9
    first = next(probe for probe in state["Health"]["Log"] if probe["ExitCode"] == 0)
    seconds = (moment(first["End"]) - moment(state["StartedAt"])).total_seconds()
    record_property("seconds from start to healthy", round(seconds, 2))
    assert 0 < seconds < grace


def test_delivers_a_mail_under_the_whole_hardened_profile(start):
    box = start()
    body = body_of(3000)
    with box.hello() as wire:
        name = deliver(wire, body)
    (kept,) = box.messages()
    assert (kept.id, kept.body) == (name, body)


def test_the_profile_of_these_tests_is_the_hardened_one(start):
    """What the engine was told; the tests below ask the kernel."""
    host = start().container.attrs["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert [option.replace(":true", "") for option in host["SecurityOpt"]] == ["no-new-privileges"]
    assert host["PidsLimit"] == PIDS
    assert host["Memory"] == host["MemorySwap"] > 0
    assert [(one["Name"], one["Hard"]) for one in host["Ulimits"]] == [("nofile", NOFILE)]
    assert not host["Privileged"]
    assert {binding["HostIp"] for one in host["PortBindings"].values() for binding in one} == {
        "127.0.0.1"
    }


# --- the process


def test_pid_1_is_the_server_and_no_shell(start):
    words = start().file("/proc/1/cmdline").split("\0")
    assert re.fullmatch(r"\S*/python3?[\d.]*", words[0]), words
    assert any(word.endswith("/prixfixe") for word in words), words
    assert not any(word in ("-c", "sh", "/bin/sh") for word in words), words


def test_pid_1_is_user_1000_in_all_four_ids(status):
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1000"] * 4
    assert set(status["Groups"].split()) <= {"1000"}


def test_pid_1_has_no_capability_and_can_get_none(status):
    sets = {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd")}
    assert not any(sets.values()), sets


def test_pid_1_gains_no_privileges_by_exec(status):
    assert status["NoNewPrivs"] == "1"


def test_pid_1_is_under_a_seccomp_filter(status):
    if not any("seccomp" in one for one in engine.client().info()["SecurityOptions"]):
        pytest.skip("this engine has no seccomp")
    assert status["Seccomp"] == "2"


def test_the_root_file_system_cannot_be_written(start):
    box = start()
    folders = ["", "/etc", "/usr/bin", "/usr/local/lib", "/var", "/root", "/run"]
    wrote = box.python(WRITE, *folders).splitlines()
    assert wrote == [f"{folder} EROFS" for folder in folders]
    assert box.python(WRITE, "/tmp", "/var/mail") == "/tmp written\n/var/mail written\n"


def test_the_limits_are_in_force_for_pid_1(start):
    box = start()
    rows = {
        line[:25].strip(): line[25:].split() for line in box.file("/proc/1/limits").splitlines()
    }
    assert rows["Max open files"][:2] == [str(NOFILE), str(NOFILE)]
    stats = box.stats()
    assert stats["pids_stats"]["limit"] == PIDS
    assert stats["memory_stats"]["limit"] == box.container.attrs["HostConfig"]["Memory"]


# --- the network


def test_listens_on_2525_and_8025_and_nothing_else(start):
    assert start().python(LISTENING).split() == ["2525", "8025"]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_answers_on_both_families(start, host):
    box = start(sysctls={"net.ipv6.conf.all.disable_ipv6": "0"})
    ran = box.prixfixe("check", "--smtp", f"{host}:2525", "--http", f"http://{host}:8025")
    assert ran.code == 0, ran


def test_works_in_a_network_without_ipv6(start):
    box = start(sysctls={"net.ipv6.conf.all.disable_ipv6": "1"})
    assert box.prixfixe("check").code == 0


def test_needs_no_network_but_loopback(start):
    """No name is looked up and nothing is sent: without a network it starts and keeps mail."""
    box = start(network_mode="none", is_awaited=False, probe=0.2)
    box.await_health("healthy")
    box.python(SEND)
    assert box.prixfixe("show", "latest").output.endswith("Subject: alone\r\n\r\nhello\r\n")


SEND = r"""
import socket
with socket.create_connection(("127.0.0.1", 2525), 10) as client:
    lines = client.makefile("rb")
    for said, code in (
        (b"", b"220"), (b"HELO c.test", b"250"), (b"MAIL FROM:<a@b.test>", b"250"),
        (b"RCPT TO:<c@d.test>", b"250"), (b"DATA", b"354"),
        (b"Subject: alone\r\n\r\nhello\r\n.", b"250"), (b"QUIT", b"221"),
    ):
        client.sendall(said and said + b"\r\n")
        line = lines.readline()
        assert line.startswith(code), line
"""


def test_the_network_s_name_is_in_no_greeting(start):
    """The greeting has the domain of the settings, not the container's id."""
    box = start(hostname="somebody")
    with box.connect() as wire:
        assert wire.reply().startswith(b"220 localhost ")


# --- commands


def test_a_command_replaces_serve(run_once):
    ended = run_once("version")
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(r"prixfixe \d+\.\d+\.\d+\S*\n", ended.out)
    assert run_once("--version").out == ended.out


def test_a_wrong_command_is_refused(run_once):
    ended = run_once("sevre")
    assert ended.code == 2
    assert "sevre" in ended.err


def test_what_is_kept_is_read_by_the_commands_in_the_container(start):
    box = start()
    body = body_of(500, "for the commands")
    with box.hello() as wire:
        name = deliver(wire, body, recipients=["one@example.org", "two@example.org"])
    listed = json.loads(box.prixfixe("messages", "--json").output)
    assert (listed["id"], listed["subject"], listed["size"]) == (name, "for the commands", 500)
    assert box.prixfixe("messages", "--to", "three@example.org").output == ""
    assert box.prixfixe("show", name).output.encode().endswith(body)
    assert box.prixfixe("export", "/tmp/all", "--format", "mbox").code == 0
    assert "for the commands" in box.file("/tmp/all")


def test_the_program_needs_nothing_of_the_environment(run_once):
    """Not even PATH: the entrypoint is an absolute path."""
    ended = run_once("version", environ={"PATH": "", "HOME": "", "LANG": "C"})
    assert ended.code == 0, ended


def test_port_25_needs_no_capability(start):
    box = start({"SMTP_PORT": "25"}, ports=(25, 8025))
    assert "CapBnd:\t0000000000000000" in box.file("/proc/1/status")
    with box.hello(25) as wire:
        deliver(wire, body_of(500))


# --- what it writes


def test_the_first_line_says_ready_with_the_real_addresses(start):
    box = start({"SMTP_PORT": "3025", "SMTP_HTTP_PORT": "off"}, ports=(3025,))
    box.logged("ready")
    first = box.logs().splitlines()[0]
    assert first == f"{READY}smtp=[::]:3025 http=off store=sqlite:/var/mail/prixfixe.db"


HOSTILE = (
    b"EHLO a\x00b\x1b[2Jc\r\n",
    b'EHLO {"level":"error"}\r\n',
    b"MAIL FROM:<\xff\xfe@b.test>\r\n",
    b'MAIL FROM:<"\\\n"@b.test>\r\n',
    b"VRFY " + b"x" * 3000 + b"\r\n",
)


def test_every_record_is_json_whatever_clients_say(start):
    box = start({"SMTP_LOG_LEVEL": "debug", "SMTP_MAX_ERRORS": "100"})
    for octets in HOSTILE:
        with box.greeted() as wire:
            wire.ask(octets)
    with box.hello() as wire:
        deliver(wire, body_of(200))
        wire.ask(b"QUIT\r\n")
    box.logged("session ended", len(HOSTILE) + 1)
    ready, *lines = box.logs().splitlines()
    assert ready.startswith(READY)
    assert faults_of_lines(lines) == []
    assert "error" not in {json.loads(line)["level"] for line in lines}
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) < 2000


def test_times_are_utc_wherever_the_container_thinks_it_is(start):
    box = start({"TZ": "Asia/Tokyo"})
    with box.hello() as wire:
        deliver(wire, body_of(200))
    (kept,) = box.messages()
    assert re.search(rb"\r\nReceived: .*?; [^\r\n]* \+0000\r\n", b"\r\n" + kept.raw, re.DOTALL)
    (record,) = box.logged("message kept")
    assert record["time"].endswith("Z")
    apart = time.time() - moment(record["time"]).timestamp()
    assert abs(apart) < 600, record  # not nine hours


def test_a_log_nobody_reads_does_not_stop_the_mail(start):
    """A log driver that keeps nothing; nothing else changes."""
    box = start(log_config={"Type": "none"})
    box.is_trouble_expected = True  # there is no log to look at
    with box.hello() as wire:
        deliver(wire, body_of(200))
    assert len(box.messages()) == 1


# --- whoever it runs as


@pytest.mark.parametrize("user", ["54321:0", "54321:54321", "1000:0"])
def test_runs_as_any_user_that_can_write_its_volume(start, user):
    box = start(user=user, **mail_on_tmpfs("16m", user), environ={"SMTP_STORE_MIN_FREE": "1MiB"})
    uid, gid = user.split(":")
    with box.hello() as wire:
        deliver(wire, body_of(200))
    assert len(box.messages()) == 1
    owners = box.python(
        "import os; s = os.stat('/var/mail/prixfixe.db'); print(s.st_uid, s.st_gid, oct(s.st_mode))"
    )
    assert owners.split() == [uid, gid, "0o100600"]


def test_runs_as_any_user_of_group_0_on_a_new_named_volume(start):
    """As OpenShift does: a user id nobody knows, group 0."""
    box = start(user="54321:0")
    with box.hello() as wire:
        deliver(wire, body_of(200))
    assert len(box.messages()) == 1


def test_a_user_that_cannot_write_the_volume_is_told_who_and_what(run_once, volume):
    mounted = {volume: {"bind": "/var/mail", "mode": "rw"}}
    ended = run_once(user="54321:54321", volumes=mounted)
    assert ended.code == 3
    assert "/var/mail/prixfixe.db" in ended.err
    assert "54321:54321" in ended.err
    assert "Traceback" not in ended.err


def test_python_is_the_only_way_in(start):
    """No shell, no package manager: what an intruder finds first is not there."""
    box = start()
    for program in ("sh", "/bin/sh", "/bin/bash", "/usr/bin/env", "/usr/bin/apt", "/bin/cat"):
        assert box.run(program).code in (126, 127), program
    assert box.run(PYTHON, "-c", "pass").code == 0
