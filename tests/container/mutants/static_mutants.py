"""Images with broken files, modes or configuration, and the tests that must fail."""

from __future__ import annotations

import random

from tests.container.mutants.checks import CONFIG, CONTENT, HEALTH, RUNNING, RUNS, UNCHANGED
from tests.container.mutants.making import COMMAND, WHEELS, Mutant

__all__ = ["MUTANTS"]

_NOISE = random.Random(1).randbytes(4_000_000)
_PEM = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ\n"
_ALWAYS_WELL = 'HEALTHCHECK --interval=15s --timeout=5s CMD ["/usr/bin/python3.13", "-c", ""]'
_PPC64 = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x15\x00" + bytes(100)

MUTANTS: dict[str, Mutant] = {
    "root user": Mutant(
        "runs as root",
        (
            f"{CONFIG}test_the_user_is_numeric_and_not_root",
            f"{RUNNING}test_pid_1_is_user_1000_in_all_four_ids",
        ),
        lines=("USER 0:0",),
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
    "made in the future": Mutant(
        "nobody knows how old it is",
        (f"{CONFIG}test_created_is_a_time_of_the_past",),
        lines=('LABEL org.opencontainers.image.created="2099-01-01T00:00:00Z"',),
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
        (
            f"{CONTENT}test_no_layer_carries[a shell]",
            f"{RUNNING}test_python_is_the_only_way_in",
        ),
        add={"usr/bin/sh": b"#!/usr/bin/python3.13\n"},
        modes={"usr/bin/sh": 0o755},
    ),
    "a program of its user": Mutant(
        "who gets in can change what runs next",
        (f"{CONTENT}test_root_owns_all_but_the_mail",),
        owners={COMMAND: 1000},
    ),
    "a named pipe": Mutant(
        "no file, and who opens it hangs",
        (f"{CONTENT}test_no_device_or_socket_is_there",),
        pipes=("usr/share/pipe",),
    ),
    "takes Python's variables": Mutant(
        "PYTHONPATH of whoever starts it runs inside it",
        (f"{CONTENT}test_the_command_is_executable_and_isolated",),
        drop=(COMMAND,),
        add={
            COMMAND: b"#!/usr/bin/python3.13\nimport sys\nfrom prixfixe.cli.start import main\n"
            b"sys.exit(main())\n"
        },
        modes={COMMAND: 0o755},
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
    "copyleft wheel": Mutant(
        "terms that the image's own licence does not have",
        (
            f"{CONTENT}test_licences_are_permissive",
            f"{CONTENT}test_wheels_are_exactly_the_locked_ones",
        ),
        add={
            f"{WHEELS}/copy-1.0.dist-info/METADATA": b"Name: copy\nVersion: 1.0\nLicense: AGPL-3\n"
        },
    ),
    "no copyright file": Mutant(
        "Debian's terms ask for it",
        (f"{CONTENT}test_every_package_keeps_its_copyright_file", UNCHANGED),
        drop=("usr/share/doc/zlib1g",),
    ),
    "another architecture": Mutant(
        "a library that this processor cannot run",
        (f"{CONTENT}test_programs_are_of_the_architecture_the_image_names",),
        add={"usr/lib/other.so": _PPC64},
    ),
    "compiled by time": Mutant(
        "code that Python compiles again whenever its source's time is another",
        (f"{CONTENT}test_modules_compiled_are_those_a_server_loads",),
        add={f"{WHEELS}/prixfixe/__pycache__/odd.cpython-313.pyc": bytes(16)},
    ),
    "no package records": Mutant(
        "a scanner finds nothing and says all is well",
        (UNCHANGED,),
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
        (f"{RUNS}test_every_module_imports",),
        drop=("usr/lib/python3.13/queue.",),
    ),
    "missing library": Mutant(
        "a library without what it links to",
        (f"{RUNS}test_every_library_finds_what_it_links_to", UNCHANGED),
        drop=("usr/lib/x86_64-linux-gnu/libuuid", "usr/lib/aarch64-linux-gnu/libuuid"),
    ),
    "not compiled": Mutant(
        "each start compiles, for there is nowhere to keep the result",
        (f"{RUNS}test_a_server_loads_nothing_that_is_not_compiled",),
        drop=(f"{WHEELS}/prixfixe/connection/__pycache__",),
    ),
}
