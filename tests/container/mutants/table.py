"""What is broken in each image, and which check must tell.

Code is patched through names, not text; a name that moved makes the server fail at its start, and
then every check is red, which the test of teeth reports as well.
"""

from __future__ import annotations

import random

from tests.container.mutants.making import WHEELS, Mutant

__all__ = ["CORE", "MUTANTS", "SAMPLE", "STILL"]

# One of each kind, for every run; the session `teeth` takes them all.
SAMPLE = (
    "root user",
    "healthcheck true",
    "secret in a layer",
    "missing module",
    "no SIGTERM handler",
    "acknowledges what was not stored",
)

CONTENT, CONFIG, RUNS = (f"test_image_{name}.py::" for name in ("content", "config", "runs"))
RUNNING, HEALTH, LIMITS = (f"test_{name}.py::" for name in ("running", "health", "limits"))
SETTINGS, TALK, LIFE = (f"test_{name}.py::" for name in ("settings", "conversations", "life"))

# What is asked of every mutant besides its own check; its own check apart, all of it stays green.
STILL = ("test_image_content.py", "test_image_config.py")
CORE = (
    f"{RUNNING}test_delivers_a_mail_under_the_whole_hardened_profile",
    f"{RUNNING}test_pid_1_is_the_server_and_no_shell",
    f"{HEALTH}test_the_verdicts_are_true[idle]",
    f"{LIMITS}test_a_message_up_to_the_limit_is_kept",
)

_UNCHANGED = f"{CONTENT}test_scanners_find_every_debian_package_and_its_files_unchanged"
_NOISE = random.Random(1).randbytes(4_000_000)
_PEM = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ\n"
_ALWAYS_WELL = 'HEALTHCHECK --interval=15s --timeout=5s CMD ["/usr/bin/python3.13", "-c", ""]'

MUTANTS: dict[str, Mutant] = {
    # --- seen in the image as it lies there
    "root user": Mutant(
        "runs as root", (f"{CONFIG}test_the_user_is_numeric_and_not_root",), lines=("USER 0:0",)
    ),
    "named user": Mutant(
        "Kubernetes cannot tell that a name is not root",
        (f"{CONFIG}test_the_user_is_numeric_and_not_root",),
        lines=("USER smtp",),
    ),
    "healthcheck true": Mutant(
        "a probe that cannot fail",
        (
            f"{CONFIG}test_the_healthcheck_needs_no_shell_and_is_bounded",
            f"{HEALTH}test_the_verdicts_are_true[wedged]",
            f"{HEALTH}test_the_verdicts_are_true[listener gone]",
        ),
        lines=(_ALWAYS_WELL,),
    ),
    "no healthcheck": Mutant(
        "HEALTHCHECK NONE is there, and is none",
        (f"{CONFIG}test_the_healthcheck_needs_no_shell_and_is_bounded",),
        lines=("HEALTHCHECK NONE",),
    ),
    "shell-form entrypoint": Mutant(
        "PID 1 would be a shell that passes no signal on",
        (
            f"{CONFIG}test_entrypoint_and_command_need_no_shell",
            f"{CONFIG}test_settings_in_force_are_the_documented_defaults",
            f"{CONFIG}test_labels_tell_the_truth",
        ),
        lines=("ENTRYPOINT /usr/local/bin/prixfixe serve",),
    ),
    "wrapped entrypoint": Mutant(
        "PID 1 is not the server",
        (
            f"{CONFIG}test_entrypoint_and_command_need_no_shell",
            f"{RUNNING}test_pid_1_is_the_server_and_no_shell",
        ),
        lines=(
            """ENTRYPOINT ["/usr/bin/python3.13", "-c", "import subprocess, sys; \
sys.exit(subprocess.call(['/usr/local/bin/prixfixe', *sys.argv[1:]]))"]""",
        ),
    ),
    "no stop signal": Mutant(
        "restart policies then depend on which signal came last",
        (f"{CONFIG}test_the_stop_signal_is_said",),
        lines=("STOPSIGNAL SIGKILL",),
    ),
    "another port": Mutant(
        "exposes what nobody listens on",
        (f"{CONFIG}test_exactly_the_two_ports_are_exposed",),
        lines=("EXPOSE 25",),
    ),
    "volume": Mutant(
        "leaks an anonymous volume a run",
        (f"{CONFIG}test_no_anonymous_volume_is_made",),
        lines=("VOLUME /var/mail",),
    ),
    "false version": Mutant(
        "the label tells another version than the program",
        (f"{CONFIG}test_labels_tell_the_truth",),
        lines=('LABEL org.opencontainers.image.version="9.9.9"',),
    ),
    "no revision": Mutant(
        "nobody knows what it was built from",
        (f"{CONFIG}test_the_revision_is_the_checkouts",),
        lines=('LABEL org.opencontainers.image.revision="unknown"',),
    ),
    "password in the environment": Mutant(
        "whoever may inspect may read it",
        (
            f"{CONFIG}test_history_and_environment_hold_no_secret",
            f"{CONFIG}test_environment_is_the_settings_table_but_for_two",
        ),
        lines=("ENV DB_PASSWORD=hunter2",),
    ),
    "another default": Mutant(
        "a limit differs from the documented one",
        (
            f"{CONFIG}test_environment_is_the_settings_table_but_for_two",
            f"{CONFIG}test_settings_in_force_are_the_documented_defaults",
        ),
        lines=("ENV SMTP_MAX_CONNECTIONS=7",),
    ),
    "secret in a layer": Mutant(
        "a key that a later layer removes is shipped all the same",
        (
            f"{CONTENT}test_no_layer_carries[a secret]",
            f"{CONTENT}test_no_layer_carries_a_private_key",
            f"{CONTENT}test_no_layer_ships_what_another_hides_or_replaces",
            f"{CONTENT}test_all_times_are_one",
            f"{CONFIG}test_one_layer_holds_everything",
        ),
        lines=(
            "USER 0",
            "COPY id.key /tmp/id.key",
            """RUN ["/usr/bin/python3.13", "-c", "import os; os.remove('/tmp/id.key')"]""",
            "USER 1000:1000",
        ),
        context={"id.key": _PEM},
    ),
    "fat layer": Mutant(
        "three megabytes of noise",
        (
            f"{CONTENT}test_the_layers_are_within_their_budget_compressed",
            f"{CONTENT}test_the_tree_is_within_its_budget",
        ),
        add={"usr/share/noise": _NOISE},
    ),
    "the same twice": Mutant(
        "a copy of what is there",
        (f"{CONTENT}test_no_octets_are_shipped_twice",),
        add={name: bytes(range(256)) * 500 for name in ("usr/share/one", "usr/share/two")},
    ),
    "world-writable spool": Mutant(
        "any user may plant mail",
        (
            f"{CONTENT}test_nothing_but_tmp_is_writable_by_all",
            f"{CONTENT}test_the_mail_folder_is_for_its_user_and_group_alone",
        ),
        modes={"var/mail/": 0o777, "var/mail": 0o777},
    ),
    "setuid program": Mutant(
        "gains root when run",
        (f"{CONTENT}test_no_file_gains_rights_when_run",),
        modes={"usr/bin/python3.13": 0o4755},
    ),
    "a shell": Mutant(
        "something to log in to",
        (f"{CONTENT}test_no_layer_carries[a shell]",),
        add={"usr/bin/sh": b"#!/usr/bin/python3.13\n"},
        modes={"usr/bin/sh": 0o755},
    ),
    "pip": Mutant(
        "something to install with",
        (f"{CONTENT}test_no_layer_carries[an installer]",),
        add={f"{WHEELS}/pip/__init__.py": b""},
    ),
    "package cache": Mutant(
        "what apt left",
        (f"{CONTENT}test_no_layer_carries[a cache]",),
        add={"var/lib/apt/lists/deb_dists_trixie_InRelease": b"x"},
    ),
    "tests shipped": Mutant(
        "the suite is not the product",
        (f"{CONTENT}test_no_layer_carries[tests]",),
        add={f"{WHEELS}/prixfixe/tests/test_it.py": b"assert True\n"},
    ),
    "login allowed": Mutant(
        "an account without a password",
        (f"{CONTENT}test_users_and_groups_are_two_without_password_or_shell",),
        drop=("etc/passwd",),
        add={
            "etc/passwd": b"root::0:0:root:/:/bin/sh\nsmtp:*:1000:1000::/var/mail:/sbin/nologin\n"
        },
    ),
    "unlocked wheel": Mutant(
        "a package nobody reviewed",
        (f"{CONTENT}test_wheels_are_exactly_the_locked_ones",),
        add={
            f"{WHEELS}/extra-1.0.dist-info/METADATA": b"Name: extra\nVersion: 1.0\nLicense: MIT\n"
        },
    ),
    "no package records": Mutant(
        "a scanner finds nothing and says all is well",
        (_UNCHANGED,),
        drop=("var/lib/dpkg/status.d/libssl3t64",),
    ),
    "time of the build": Mutant(
        "two builds would differ",
        (f"{CONTENT}test_all_times_are_one",),
        add={"usr/share/built": b"today"},
        mtime=1_700_000_000,
    ),
    "missing module": Mutant(
        "pruned too much",
        (f"{RUNS}test_every_module_imports", _UNCHANGED),
        drop=("usr/lib/python3.13/queue.py", "usr/lib/python3.13/__pycache__/queue."),
    ),
    "missing library": Mutant(
        "a library without what it links to",
        (f"{RUNS}test_every_library_finds_what_it_links_to", _UNCHANGED),
        drop=("usr/lib/x86_64-linux-gnu/libuuid", "usr/lib/aarch64-linux-gnu/libuuid"),
    ),
    "not compiled": Mutant(
        "each start compiles, for there is nowhere to keep the result",
        (f"{RUNS}test_a_server_loads_nothing_that_is_not_compiled",),
        drop=(f"{WHEELS}/prixfixe/session/__pycache__",),
    ),
    # --- seen in a running server
    "greeting without domain": Mutant(
        "a client that compares names turns away",
        (f"{SETTINGS}test_a_setting_is_respected[SMTP_DOMAIN]",),
        code="""
from prixfixe import replies
greeting = replies.greeting
replies.greeting = lambda _domain: greeting("mail")
""",
    ),
    "no size limit": Mutant(
        "one client can fill memory and disk",
        (
            f"{LIMITS}test_an_undeclared_size_over_the_limit_is_refused_after_the_data",
            f"{LIMITS}test_a_declared_size_over_the_limit_is_refused_before_the_data",
            f"{SETTINGS}test_a_setting_is_respected[SMTP_MAX_MESSAGE_SIZE]",
        ),
        code="""
from prixfixe.session import terms
init = terms.Terms.__init__
def without(self, settings):
    init(self, settings)
    self.max_message_size = 1 << 30
terms.Terms.__init__ = without
""",
    ),
    "ignores the connection limit": Mutant(
        "one client can take every descriptor",
        (
            f"{LIMITS}test_the_third_of_two_connections_is_turned_away_and_a_freed_slot_is_usable",
            f"{SETTINGS}test_a_setting_is_respected[SMTP_MAX_CONNECTIONS]",
        ),
        code="""
from prixfixe import server
admission = server.Admission
server.Admission = lambda _most, **options: admission(10_000, **options)
""",
    ),
    "probe takes a client's slot": Mutant(
        "a busy server is called sick",
        (f"{HEALTH}test_the_verdicts_are_true[all client slots taken]",),
        code="""
from prixfixe.limits import Admission
Admission.expect_probe = lambda self, port: None
""",
    ),
    "always ready": Mutant(
        "a full disk is called well",
        (f"{HEALTH}test_the_verdicts_are_true[volume full]",),
        code="""
from prixfixe import readiness
async def well(self):
    return readiness.CheckResult(is_ok=True)
readiness.Readiness._store_check = well
""",
    ),
    "false ready line": Mutant(
        "the line that tools wait for names ports nobody listens on",
        (f"{RUNNING}test_the_first_line_says_ready_with_the_real_addresses",),
        code="""
from prixfixe import server
server.Bound.line = lambda self: "prixfixe ready smtp=[::]:25 http=[::]:80 store=memory:"
""",
    ),
    "IPv4 only": Mutant(
        "half of the network finds nobody",
        (f"{RUNNING}test_answers_on_both_families[[::1]]",),
        code="""
from prixfixe import listeners
listeners.socket.has_dualstack_ipv6 = lambda: False
""",
    ),
    "one listener too many": Mutant(
        "a port nobody knows of",
        (f"{RUNNING}test_listens_on_2525_and_8025_and_nothing_else",),
        code="""
import socket
extra = socket.create_server(("127.0.0.1", 5555))
""",
    ),
    "bad setting ignored": Mutant(
        "runs with a limit that nobody asked for",
        (f"{SETTINGS}test_a_wrong_value_stops_the_start_and_is_named[SMTP_MAX_CONNECTIONS]",),
        code="""
import os
os.environ.pop("SMTP_MAX_CONNECTIONS", None)
""",
    ),
    "no idle timeout": Mutant(
        "silent clients stay for ever",
        (f"{LIMITS}test_a_silent_client_is_told_and_let_go",),
        code="""
import os
os.environ["SMTP_TIMEOUT"] = "3600"
""",
    ),
    "no SIGTERM handler": Mutant(
        "PID 1 ignores what it does not handle, and is killed",
        (
            f"{LIFE}test_docker_stop_ends_it_with_0_inside_the_grace_period",
            f"{LIFE}test_a_message_under_way_is_finished_when_the_server_stops",
        ),
        code="""
import signal
from types import SimpleNamespace
from prixfixe import process
process.signal = SimpleNamespace(
    SIGTERM=signal.SIGUSR2, SIGINT=signal.SIGINT, SIGHUP=signal.SIGHUP
)
""",
    ),
    "acknowledges what was not stored": Mutant(
        "a 250 whatever the disk said",
        (f"{LIFE}test_a_full_disk_is_a_452_and_mail_flows_again_when_there_is_room",),
        code="""
import asyncio
from prixfixe.stores.writer import GroupStore
put = GroupStore.put
def hopeful(self, message):
    done = asyncio.get_running_loop().create_future()
    put(self, message).add_done_callback(lambda kept: (kept.exception(), done.set_result(None)))
    return done
GroupStore.put = hopeful
""",
    ),
    "loses every 50th message": Mutant(
        "a 250 for what is never kept, now and then",
        (f"{TALK}test_what_is_acknowledged_under_load_is_what_is_kept",),
        code="""
import asyncio, itertools
from prixfixe.stores.writer import GroupStore
put, numbers = GroupStore.put, itertools.count(1)
def lossy(self, message):
    if next(numbers) % 50:
        return put(self, message)
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done
GroupStore.put = lossy
""",
    ),
    "strips a final newline": Mutant(
        "a signature over the body no longer fits",
        (f"{TALK}test_bodies_are_kept_to_the_octet",),
        code="""
from prixfixe.session.delivery import Delivery
keep = Delivery.keep
def strip(self, envelope, body, *rest):
    keep(self, envelope, body[:-2] if body.endswith(b"\\r\\n\\r\\n") else body, *rest)
Delivery.keep = strip
""",
    ),
}
