"""The scripts as far as they need no Docker: style, help, usage, .env, what they say when it is missing."""

import os
import re
import shutil
import subprocess

import pytest

from tests.support.script_runner import ROOT, SCRIPTS, Shell

CONTAINER_SCRIPTS = ["build.sh", "compose.sh", "logs.sh", "run.sh", "stop.sh", "stress-test.sh"]
WORDS = {"compose.sh": ["ps"], "stress-test.sh": ["quick"]}


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


# --- style


@pytest.mark.parametrize(
    "tool", [["shellcheck"], ["shfmt", "-i", "4", "-d"]], ids=lambda tool: tool[0]
)
def test_scripts_are_clean(tool):
    paths = [str(path) for path in sorted((ROOT / "scripts").glob("*.sh"))]
    done = subprocess.run([*tool, *paths], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_for_any_posix_shell(script):
    path = ROOT / "scripts" / script
    assert path.read_text().startswith("#!/bin/sh\n")
    assert os.access(path, os.X_OK)


# --- help and usage


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_is_on_standard_output_and_needs_nothing(shell, script, option):
    shell.only()
    done = shell.run(script, option)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"\nUsage: scripts/{script}" in done.stdout
    assert "Exit codes: " in done.stdout
    assert "\033" not in done.stdout
    assert "set -e" not in done.stdout


MISUSES = [
    ("build.sh", ["prixfixe"], "prixfixe"),
    ("run.sh", ["--fast"], "--fast"),
    ("stop.sh", ["--remove", "all"], "all"),
    ("logs.sh", ["--tail"], "--tail"),
    ("logs.sh", ["--tail", "-3"], "-3"),
    ("logs.sh", ["--tail=few"], "few"),
    ("logs.sh", ["smtp"], "smtp"),
    ("test-smtp.sh", ["127.0.0.1"], "PORT"),
    ("test-smtp.sh", ["127.0.0.1", "smtp"], "smtp"),
    ("test-smtp.sh", ["127.0.0.1", "0"], "0"),
    ("compose.sh", [], "arguments"),
    ("base-image.sh", ["--frce"], "--frce"),
    ("stress-test.sh", [], "quick"),
    ("stress-test.sh", ["huge"], "huge"),
    ("stress-test.sh", ["quick", "here", "there"], "there"),
]


@pytest.mark.parametrize(("script", "words", "named"), MISUSES)
def test_wrong_usage_is_exit_2_and_names_the_word(shell, script, words, named):
    shell.only()
    done = shell.run(script, *words)
    assert done.returncode == 2
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first.startswith(f"{script}: ")
    assert named in first
    assert second == f"See {script} --help."


def test_colours_are_for_a_terminal_only(shell):
    shell.only("python3")
    on_a_terminal = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"

    def coloured(**environ):
        done = subprocess.run(
            [
                shell.folder / "bin" / "python3",
                "-c",
                on_a_terminal,
                shell.folder / "scripts" / "run.sh",
                "--fast",
            ],
            env=shell.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert "unexpected argument --fast" in done.stdout
        return "\033[31m" in done.stdout

    assert coloured()
    assert not coloured(NO_COLOR="1")
    assert "\033" not in shell.run("run.sh", "--fast").stderr


# --- Docker that is not there, or says no


@pytest.mark.parametrize("script", CONTAINER_SCRIPTS)
def test_without_docker_the_error_says_so(shell, script):
    shell.only()
    done = shell.run(script, *WORDS.get(script, []))
    assert done.returncode == 3
    assert done.stderr == f"{script}: there is no docker command: install Docker\n"


@pytest.mark.parametrize("script", CONTAINER_SCRIPTS)
def test_a_daemon_that_is_down_is_named(shell, script):
    shell.docker('echo "Cannot connect to the Docker daemon at $DOCKER_HOST." >&2; exit 1')
    done = shell.run(script, *WORDS.get(script, []), DOCKER_HOST="unix:///nowhere.sock")
    assert done.returncode == 3
    assert (
        f"{script}: Docker does not answer: Cannot connect to the Docker daemon at unix:///nowhere.sock"
        in done.stderr
    )
    assert all(call.startswith("version") for call in shell.calls)


def test_the_daemon_of_docker_host_is_asked(shell):
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("no docker command on this machine")
    shell.only("docker")
    done = shell.run("logs.sh", DOCKER_HOST=f"unix://{shell.folder}/none.sock")
    assert done.returncode == 3
    assert "none.sock" in done.stderr


# What engines said over the years.
_FAILED = "docker: Error response from daemon: driver failed programming external connectivity on endpoint x (ab)"
TAKEN = [
    f"{_FAILED}: Bind for 127.0.0.1:2525 failed: port is already allocated.",
    f"{_FAILED}: Error starting userland proxy: listen tcp4 127.0.0.1:2525: bind: address already in use.",
    f"{_FAILED}: failed to bind host port for 127.0.0.1:2525:172.17.0.2:2525/tcp: address already in use",
]


@pytest.mark.parametrize("message", TAKEN)
def test_a_taken_port_is_named_and_nothing_is_left(shell, message):
    shell.docker(
        f'case $1 in container) [ -e "{shell.folder}/made" ] && echo run.sh ;;'
        f' run) : >"{shell.folder}/made"; echo "{message}" >&2; exit 125 ;; esac'
    )
    done = shell.run("run.sh")
    assert done.returncode == 1
    assert (
        done.stderr
        == "run.sh: port 2525 is taken: set SMTP_PORT or SMTP_HTTP_PORT, or stop what has it\n"
    )
    assert shell.calls[-1] == "rm --force prixfixe"


def test_another_refusal_is_told_as_docker_told_it(shell):
    message = "docker: Error response from daemon: no space left on device."
    shell.docker(f'case $1 in container) exit 1 ;; run) echo "{message}" >&2; exit 125 ;; esac')
    done = shell.run("run.sh")
    assert (done.returncode, done.stderr) == (1, f"run.sh: Docker did not start it: {message}\n")


def test_who_has_a_taken_port_is_named(shell):
    shell.docker(
        f'case "$1 $*" in container*) exit 1 ;; "ps "*publish=2525*) echo theirs ;;'
        f' "run "*) echo "{TAKEN[0]}" >&2; exit 125 ;; esac'
    )
    done = shell.run("run.sh")
    assert "run.sh: port 2525 is taken by the container theirs: set SMTP_PORT" in done.stderr


DYING = """
case $* in
"container inspect"*) exit 1 ;;
"exec "*) exit 1 ;;
"inspect "*) echo "; exit code 137" ;;
esac
"""


def test_how_a_server_ended_is_told(shell):
    shell.docker(DYING)
    done = shell.run("run.sh")
    assert done.returncode == 1
    told = "it logged nothing; exit code 137; PRIXFIXE_MEMORY=256m"
    assert told in done.stderr, done.stderr
    [call] = [call for call in shell.calls if call.startswith("run ")]
    assert "--restart" not in call  # or its exit code would be gone with its next life
    assert not [call for call in shell.calls if call.startswith("update ")]


READY = """
case $* in
"container inspect"*) exit 1 ;;
"port prixfixe 2525/tcp") echo 127.0.0.1:2525 ;;
"port "*) echo 127.0.0.1:9999 ;;
esac
"""


def test_a_server_that_was_ready_once_is_started_again(shell):
    shell.docker(READY)
    assert shell.run("run.sh").returncode == 0
    assert shell.calls.index("update --restart unless-stopped prixfixe") > shell.calls.index(
        "exec prixfixe prixfixe wait --timeout 60"
    )


@pytest.mark.parametrize(("name", "prefix"), [("prixfixe", ""), ("mx", "PRIXFIXE_NAME=mx ")])
def test_every_hint_is_of_the_server_that_was_started(shell, name, prefix):
    shell.docker(READY.replace("prixfixe 2525", f"{name} 2525"))
    done = shell.run("run.sh", PRIXFIXE_NAME=name)
    assert done.returncode == 0, done.stderr
    assert f"  logs   {prefix}scripts/logs.sh     stop it: {prefix}scripts/stop.sh\n" in done.stderr


IS_OF = "image inspect --format"


@pytest.mark.parametrize(("built", "is_told"), [("a" * 40, True), ("unknown", False), ("", False)])
@pytest.mark.parametrize("script", ["run.sh", "compose.sh"])
def test_an_image_of_another_commit_is_told(shell, script, built, is_told):
    commit(shell.folder)
    shell.docker(READY.replace(" in", f' in "{IS_OF}"*) echo {built} ;; ', 1))
    shell.only("git")
    words = ["up"] if script == "compose.sh" else []
    done = shell.run(script, *words)
    assert done.returncode == 0, done.stderr
    told = "The image prixfixe is of another commit than this checkout"
    assert (f"{told} ({built}, not " in done.stderr) == is_told
    assert (told in done.stderr) == is_told
    again = shell.run(script, *words, PRIXFIXE_IMAGE="prixfixe")
    assert told not in again.stderr


def test_an_image_of_this_commit_is_not_told(shell):
    now = commit(shell.folder)
    shell.docker(READY.replace(" in", f' in "{IS_OF}"*) echo {now} ;; ', 1))
    shell.only("git")
    done = shell.run("run.sh")
    assert done.returncode == 0, done.stderr
    assert "another commit" not in done.stderr


def commit(folder):
    """Make a folder a repository, and return its commit."""
    shell = "git init -q . && git -c user.name=a -c user.email=a@b.test commit -qm x --allow-empty"
    subprocess.run(["sh", "-c", shell], cwd=folder, check=True)
    asked = ["git", "-C", folder, "rev-parse", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def test_the_volume_is_made_as_compose_makes_it(shell):
    shell.docker(READY.replace(") exit 1", '|"volume inspect"*) exit 1'))
    shell.run("run.sh", PRIXFIXE_NAME="mx")
    [call] = [call for call in shell.calls if call.startswith("volume create")]
    assert call == (
        "volume create --label com.docker.compose.project=mx --label com.docker.compose.volume=mail"
        " mx-mail"
    )
    shell.run("run.sh", PRIXFIXE_VOLUME="theirs")
    assert len([call for call in shell.calls if call.startswith("volume create")]) == 1


@pytest.mark.parametrize("script", ["run.sh", "stop.sh", "logs.sh"])
def test_a_container_of_somebody_else_is_left_alone(shell, script):
    shell.docker("")  # inspecting succeeds, and shows no label of ours
    done = shell.run(script)
    assert done.returncode == 1
    assert (
        "the container prixfixe was not made by run.sh: remove it or set PRIXFIXE_NAME"
        in done.stderr
    )
    assert not [
        call for call in shell.calls if call.split()[0] in ("run", "rm", "stop", "rename", "logs")
    ]


def inspecting(**makers):
    """Return the part of a docker that has containers and networks of these names, and their makers."""
    cases = "".join(
        f'"{kind} inspect "*" {name}") echo {maker} ;;'
        for kind, made in makers.items()
        for name, maker in made.items()
    )
    return f'case $* in {cases} *" inspect "*" prixfixe"*) exit 1 ;; esac'


def removals(shell):
    return [call for call in shell.calls if call.split()[0] in ("rm", "stop") or " rm " in call]


def test_a_name_that_was_taken_meanwhile_stays_taken(shell):
    shell.docker('case $1 in container) exit 1 ;; run) echo "name is in use" >&2; exit 125 ;; esac')
    assert shell.run("run.sh").returncode == 1
    assert removals(shell) == []


RUNS = '"inspect --format {{.State.Running}}"*) echo true ;;'


@pytest.mark.parametrize(("maker", "is_removed"), [("run.sh", True), ("somebody", False)])
def test_stop_removes_a_network_of_ours_alone(shell, maker, is_removed):
    there = inspecting(container={"prixfixe": "run.sh"}, network={"prixfixe": maker})
    shell.docker(there.replace("case $* in", f"case $* in {RUNS}"))
    assert shell.run("stop.sh", "--remove").returncode == 0
    assert (
        removals(shell) == ["stop prixfixe", "rm prixfixe", "network rm prixfixe"][: 2 + is_removed]
    )


# --- what compose started, and what is not there


def composing(*names, running=True):
    """Return the part of a docker with servers of compose only, of the projects that are named."""
    listed = (
        "".join(f'"ps "*"compose.project={name} "*) echo {name}-smtp-1 ;;' for name in names)
        + '"ps "*"compose.project "*) printf "%s\\n" '
        + " ".join(f"{name}-smtp-1" for name in names)
    )
    runs = "true" if running else "false"
    return (
        f'case $* in {listed} ;; "inspect --format {{{{.State.Running}}}}"*) echo {runs} ;;'
        ' "inspect --format {{.State.ExitCode}}"*) echo 0 ;; "container inspect"*) exit 1 ;; esac'
    )


def test_logs_and_stop_see_what_compose_started(shell):
    shell.docker(composing("prixfixe"))
    assert shell.run("logs.sh", "--no-follow").returncode == 0
    assert shell.calls[-1] == "logs --tail all prixfixe-smtp-1"
    done = shell.run("stop.sh", "--remove")
    assert (done.returncode, removals(shell)) == (
        0,
        ["stop prixfixe-smtp-1", "rm prixfixe-smtp-1", "network rm prixfixe_mail"],
    )
    assert "prixfixe-smtp-1 is stopped" in done.stderr


def test_the_project_of_compose_is_asked_for_by_its_name(shell):
    shell.docker(composing("mx"))
    assert shell.run("stop.sh").returncode == 1
    assert shell.run("stop.sh", PRIXFIXE_NAME="mx").returncode == 0
    assert shell.run("stop.sh", COMPOSE_PROJECT_NAME="mx").returncode == 0


@pytest.mark.parametrize("script", ["stop.sh", "logs.sh"])
def test_a_name_that_is_no_server_is_a_failure_that_says_what_there_is(shell, script):
    shell.docker(composing("mx"))
    done = shell.run(script, PRIXFIXE_NAME="mxx")
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"{script}: there is no server mxx (there is: mx-smtp-1; PRIXFIXE_NAME says which): start it"
    )
    assert removals(shell) == []


def test_a_server_that_does_not_run_is_nothing_to_stop(shell):
    shell.docker(composing("prixfixe", running=False))
    done = shell.run("stop.sh")
    assert (done.returncode, done.stderr) == (
        1,
        "stop.sh: prixfixe-smtp-1 does not run: there is nothing to stop\n",
    )
    assert shell.run("stop.sh", "--remove").returncode == 0


def test_run_says_that_compose_has_the_server(shell):
    shell.docker(composing("mx"))
    done = shell.run("run.sh", PRIXFIXE_NAME="mx")
    assert done.returncode == 1
    assert "run.sh: compose runs the server mx as mx-smtp-1" in done.stderr
    assert "stop it with PRIXFIXE_NAME=mx scripts/stop.sh" in done.stderr
    assert not [call for call in shell.calls if call.startswith(("run ", "network ", "volume "))]


def test_compose_up_says_that_run_sh_has_the_server(shell):
    shell.docker(
        inspecting(container={"prixfixe": "run.sh"}).replace("case $* in", f"case $* in {RUNS}")
    )
    done = shell.run("compose.sh", "up")
    assert done.returncode == 2
    assert "compose.sh: run.sh runs the server prixfixe: stop it with" in done.stderr
    assert not [call for call in shell.calls if call.startswith("compose up")]


# --- other scripts


@pytest.mark.parametrize("kind", ["container", "network", "volume"])
@pytest.mark.parametrize("maker", ["stress-test.sh", "somebody", ""])
def test_a_stress_test_removes_nothing_of_somebody_else(shell, kind, maker):
    shell.docker(
        f'case "$1 $2" in "{kind} ls") echo "{kind} theirs {maker}" ;; "compose up") exit 1 ;; esac'
    )
    shell.only("python3")
    done = shell.run("stress-test.sh", "quick")
    is_ours = maker == "stress-test.sh"
    assert (done.returncode, "was not made by stress-test.sh" in done.stderr) == (1, not is_ours)
    assert is_ours or f"stress-test.sh: the {kind} theirs" in done.stderr
    assert any(" down " in call for call in shell.calls) == is_ours


def test_a_base_that_cannot_be_pulled_is_made(shell):
    shell.docker('case $* in "image inspect debian:"*|pull*) exit 1 ;; esac')
    made = shell.folder / "scripts" / "base-image.sh"
    made.write_text(f'#!/bin/sh\necho "made $*" >>"{shell.folder}/calls"\n')
    done = shell.run("build.sh")
    assert done.returncode == 0, done.stderr
    calls = [call for call in shell.calls if call.startswith(("pull ", "made ", "build "))]
    assert [call.split()[0] for call in calls] == ["pull", "made", "build", "build"]
    assert calls[1] == "made debian:trixie-slim"


def test_another_base_is_never_made_up(shell):
    shell.docker('case $* in "image inspect debian:"*|pull*) exit 1 ;; esac')
    done = shell.run("build.sh", PRIXFIXE_BASE_IMAGE="debian:forky-slim")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "build.sh: the base image debian:forky-slim cannot be had",
    )


@pytest.mark.parametrize(
    ("image", "tags"),
    [
        ("prixfixe", ["prixfixe:{}", "prixfixe:latest"]),
        (
            "host:5000/mail/prixfixe",
            ["host:5000/mail/prixfixe:{}", "host:5000/mail/prixfixe:latest"],
        ),
        ("prixfixe:mine", ["prixfixe:mine"]),
    ],
)
def test_the_image_is_tagged_with_its_version(shell, image, tags):
    from prixfixe import __version__

    shell.docker("")
    assert shell.run("build.sh", "--no-cache", PRIXFIXE_IMAGE=image).returncode == 0
    [call, second] = [call for call in shell.calls if call.startswith("build ")]
    tags = [tag.format(__version__) for tag in tags]
    assert re.findall(r"--tag (\S+)", call) == tags
    others = [re.sub(r":([^:]+)\Z", r"-mailpit:\1", tag) for tag in tags]
    assert re.findall(r"--tag (\S+)", second) == others
    assert f"--build-arg IMAGE={tags[0]} " in second
    assert " --no-cache " in call
    assert "--build-arg REVISION=unknown " in call  # this copy is no repository


# A docker that has no image of another processor, and a kernel that runs one's programs.
FOREIGN = "case $* in info*) echo x86_64 ;; *inspect*arm64*|pull*) exit 1 ;; esac"


def emulating(shell, flags):
    """Return a binfmt_misc where arm64 has these flags."""
    (shell.folder / "qemu-aarch64").write_text(f"enabled\nflags: {flags}\n")
    return {"PRIXFIXE_BINFMT": str(shell.folder)}


def fake_base(shell):
    made = shell.folder / "scripts" / "base-image.sh"
    made.write_text(f'#!/bin/sh\necho "made $*" >>"{shell.folder}/calls"\n')


@pytest.mark.parametrize("words", [["--platform", "linux/arm64"], ["--platform=linux/arm64"]])
def test_another_processor_s_image_has_a_tag_of_its_own(shell, words):
    shell.docker(FOREIGN)
    fake_base(shell)
    done = shell.run("build.sh", *words, "--no-cache", **emulating(shell, "POF"))
    assert done.returncode == 0, done.stderr
    [call] = [call for call in shell.calls if call.startswith("build ")]
    assert re.findall(r"--tag (\S+)", call) == ["prixfixe:arm64"]
    assert " --platform linux/arm64 --no-cache " in call
    assert " BASE_IMAGE=debian:trixie-slim-arm64 " in call
    assert "made --platform linux/arm64 debian:trixie-slim-arm64" in shell.calls


def test_a_pull_for_another_processor_leaves_this_one_s_base_its_name(shell):
    shell.docker(
        "case $* in info*) echo x86_64 ;; *inspect*arm64*) exit 1 ;; *inspect*) echo sha256:ours ;; esac"
    )
    done = shell.run("build.sh", "--platform", "linux/arm64", **emulating(shell, "POF"))
    assert done.returncode == 0, done.stderr
    pull, *tags = [call for call in shell.calls if call.startswith(("pull", "tag"))]
    assert pull == "pull --quiet --platform linux/arm64 debian:trixie-slim"
    assert tags == [
        "tag debian:trixie-slim debian:trixie-slim-arm64",
        "tag sha256:ours debian:trixie-slim",
    ]


def test_this_processor_s_platform_is_the_usual_image(shell):
    shell.docker("case $* in info*) echo aarch64 ;; esac")
    assert shell.run("build.sh", "--platform", "linux/arm64").returncode == 0
    call = next(call for call in shell.calls if call.startswith("build "))
    assert " --tag prixfixe:latest --platform linux/arm64 " in call
    assert " BASE_IMAGE=debian:trixie-slim " in call


@pytest.mark.parametrize("script", ["build.sh", "base-image.sh"])
@pytest.mark.parametrize("flags", [None, "PO"])
def test_a_kernel_that_cannot_run_the_programs_is_told(shell, script, flags):
    shell.docker(FOREIGN)
    shell.only("id", "debootstrap", "apt-get", "apt-config")
    environ = emulating(shell, flags) if flags else {"PRIXFIXE_BINFMT": "/nowhere"}
    done = shell.run(script, "--platform", "linux/arm64", DEBIAN_MIRROR="http://x.test", **environ)
    if script == "base-image.sh" and "needs root" in done.stderr:
        pytest.skip("only root gets so far")
    assert done.returncode == 1
    assert f"{script}: this machine runs no programs of arm64: " in done.stderr
    assert "apt-get install qemu-user-static binfmt-support" in done.stderr
    assert not any(call.startswith(("build", "pull", "import")) for call in shell.calls)


@pytest.mark.parametrize("script", ["build.sh", "base-image.sh"])
def test_an_unknown_platform_is_wrong_usage(shell, script):
    shell.docker("")
    done = shell.run(script, "--platform", "linux/s390x")
    assert done.returncode == 2
    assert "--platform linux/s390x: expected linux/amd64 or linux/arm64" in done.stderr


@pytest.mark.parametrize(("has_buildx", "used"), [("true", "1"), ("false", "0")])
def test_buildkit_is_used_where_it_is_and_not_needed_where_it_is_not(shell, has_buildx, used):
    shell.docker(
        f'case $1 in buildx) {has_buildx} ;; build) echo "with $DOCKER_BUILDKIT" >&2 ;; esac'
    )
    done = shell.run("build.sh", DOCKER_BUILDKIT="1")
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, f"with {used}")


@pytest.mark.parametrize(
    ("timeout", "grace"),
    [("", 12), ("8", 20), ("1.5", 13), ("500ms", 12), ("30s", 42), ("2m", 132), ("1h", 3612)],
)
def test_the_time_to_stop_is_longer_than_the_server_takes(shell, timeout, grace):
    shell.docker("case $1 in container) exit 1 ;; run) echo no >&2; exit 1 ;; esac")
    shell.run("run.sh", SMTP_SHUTDOWN_TIMEOUT=timeout or "0")
    [call] = [call for call in shell.calls if call.startswith("run ")]
    assert f" --stop-timeout {grace} " in call


def test_secrets_are_not_on_docker_s_command_line(shell):
    shell.docker("case $1 in container) exit 1 ;; run) echo no >&2; exit 1 ;; esac")
    shell.run("run.sh", SMTP_HTTP_TOKEN="opensesame")
    assert any("--env SMTP_HTTP_TOKEN " in call for call in shell.calls)
    assert not [call for call in shell.calls if "opensesame" in call]


def test_compose_is_found_as_plugin_then_as_command(shell):
    shell.docker('case "$1 $2" in "compose version") exit ${NO_PLUGIN:-0} ;; esac')
    assert shell.run("compose.sh", "logs").returncode == 0
    assert shell.calls[-1] == "compose logs"
    without = shell.run("compose.sh", "logs", NO_PLUGIN="1")
    assert (
        without.returncode,
        without.stderr.startswith("compose.sh: there is no docker compose"),
    ) == (3, True)
    command = shell.folder / "bin" / "docker-compose"
    for version, code in [("1.29.2", 3), ("2.26.1", 7)]:
        command.write_text(
            f'#!/bin/sh\n[ "$1" != version ] || {{ echo {version}; exit 0; }}\nexit 7\n'
        )
        command.chmod(0o755)
        assert shell.run("compose.sh", "logs", NO_PLUGIN="1").returncode == code


@pytest.mark.parametrize(
    ("words", "is_needed"), [("build", True), ("up --build", True), ("up -d", True), ("ps", False)]
)
def test_compose_has_its_base_when_it_builds(shell, words, is_needed):
    shell.docker('case $* in "image inspect"*) exit 1 ;; esac')
    assert shell.run("compose.sh", *words.split()).returncode == 0
    assert ("pull --quiet debian:trixie-slim" in shell.calls) == is_needed
    assert shell.calls[-1] == f"compose {words}"


@pytest.mark.parametrize("lacking", ["prixfixe", "mail-postgresql", ""])
def test_compose_has_its_base_when_any_image_of_a_cluster_is_missing(shell, lacking):
    missing = f'"image inspect {lacking or "no-such"}" | "image inspect debian:"*'
    shell.docker(f"case $* in {missing}) exit 1 ;; esac")
    words = ("-f", "docker-compose.cluster.yml", "up", "--wait")
    assert shell.run("compose.sh", *words, PRIXFIXE_CLUSTER="mail").returncode == 0
    assert ("pull --quiet debian:trixie-slim" in shell.calls) == bool(lacking)


# --- settings that compose would not understand, or that would stop a server that works


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("SMTP_PORT", value) for value in ("0", "off", "25x", "65536", "100000", "025", "-1")),
        ("SMTP_HTTP_PORT", "off"),
        ("SMTP_TLS_PORT", "0"),
    ],
)
@pytest.mark.parametrize("is_in_file", [True, False])
def test_compose_names_a_port_that_it_cannot_publish(shell, name, value, is_in_file):
    shell.docker("")
    if is_in_file:
        shell.dotenv(f"{name}={value}\n")
    done = shell.run("compose.sh", "config", **({} if is_in_file else {name: value}))
    assert done.returncode == 2
    assert f"compose.sh: {name}='{value}': expected a number from 1 to 65535" in done.stderr
    assert ("SMTP_HTTP_BIND=" in done.stderr) == (name == "SMTP_HTTP_PORT")
    assert not [call for call in shell.calls if call.startswith("compose config")]


@pytest.mark.parametrize("value", ["off", ""])
@pytest.mark.parametrize("is_in_file", [True, False])
def test_compose_takes_a_tls_port_that_is_off_for_none(shell, value, is_in_file):
    shell.docker('[ "$2" = version ] || echo "port: <$SMTP_TLS_PORT>"')
    if is_in_file:
        shell.dotenv(f"SMTP_TLS_PORT={value}\n")
    environ = {} if is_in_file else {"SMTP_TLS_PORT": value}
    done = shell.run("compose.sh", "config", **environ)
    assert (done.returncode, done.stdout) == (0, "port: <>\n")


@pytest.mark.parametrize("value", ["1", "25", "587", "2525", "10000", "65535"])
def test_compose_is_given_a_port_that_it_can_publish(shell, value):
    shell.docker("")
    assert shell.run("compose.sh", "config", SMTP_PORT=value).returncode == 0


def test_the_ports_of_another_compose_file_are_its_own(shell):
    shell.docker("")
    assert shell.run("compose.sh", "--file", "x.yml", "up", SMTP_PORT="0").returncode == 0
    assert shell.calls[-1] == "compose --file x.yml up"
    assert not [call for call in shell.calls if " config" in call]


CHECK = "run --rm --no-deps -T smtp config"


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("up --detach --wait", [CHECK]),
        ("--profile monitoring up", [f"--profile monitoring {CHECK}"]),
        ("up --build", ["build smtp", CHECK]),
        ("up --no-build", []),
        ("restart", []),
    ],
)
def test_compose_up_checks_the_settings_first(shell, words, asked):
    shell.docker("")
    assert shell.run("compose.sh", *words.split()).returncode == 0
    calls = [call for call in shell.calls if call.startswith("compose ") and "version" not in call]
    assert calls == [f"compose {call}" for call in [*asked, words]]


@pytest.mark.parametrize(("code", "is_stopped"), [(2, True), (1, False), (125, False)])
def test_compose_up_ends_at_wrong_settings_and_at_nothing_else(shell, code, is_stopped):
    shell.docker(f'case $* in *"smtp config") echo "SMTP_X: expected y" >&2; exit {code} ;; esac')
    done = shell.run("compose.sh", "up", "--wait")
    assert done.returncode == (2 if is_stopped else 0)
    assert ("SMTP_X: expected y" in done.stderr) == is_stopped
    assert (shell.calls[-1] == "compose up --wait") != is_stopped


@pytest.mark.parametrize("name", ["SMTP_PORT", "SMTP_TLS_PORT", "SMTP_STORE", "SMTP_HTTP_BIND"])
def test_compose_names_a_file_for_what_it_has_to_know_itself(shell, name):
    shell.docker("")
    shell.dotenv(f"{name}_FILE=/run/secrets/it\n")
    done = shell.run("compose.sh", "config")
    assert done.returncode == 2
    expected = f"{name}_FILE='/run/secrets/it': expected {name}, which compose has to know"
    assert done.stderr == f"compose.sh: {expected}\n"


def test_compose_up_has_the_image_judge_names_that_it_does_not_pass_on(shell):
    """Compose passes them over without a word. Values stay off the command line."""
    wrong = "SMTP_DOMIAN=(hidden): expected a setting's name; did you mean SMTP_DOMAIN?"
    shell.docker(f'case $* in *"smtp config") echo "{wrong}" >&2; exit 2 ;; esac')
    shell.dotenv("SMTP_DOMIAN=opensesame\nSMTP_TIMEOUT=9\nSMTP_TIMEOUT_FILE=\n")
    done = shell.run("compose.sh", "up")
    assert done.returncode == 2
    assert wrong in done.stderr
    [call] = [call for call in shell.calls if call.endswith("smtp config")]
    assert call == "compose run --rm --no-deps -T --env=SMTP_DOMIAN smtp config"


def test_compose_up_tells_a_warning_of_the_image_and_no_chatter(shell):
    warning = "prixfixe: SMTP_STORE_MIN_FREE has no effect: why"
    chatter = "Network prixfixe_mail Created"
    shell.docker(f'case $* in *"smtp config") printf "%s\n" "{chatter}" "{warning}" >&2 ;; esac')
    done = shell.run("compose.sh", "up")
    assert (done.returncode, done.stderr) == (0, warning.replace("prixfixe:", "compose.sh:") + "\n")


def test_compose_up_names_all_that_is_wrong_in_one_run(shell):
    """Its own findings and the image's, which judges with a default in a wrong port's place."""
    shell.docker(
        'case $* in *"smtp config") echo "  SMTP_TLS=\'yes\': expected port $SMTP_PORT" >&2; exit 2 ;; esac'
    )
    shell.dotenv("SMTP_PORT=99999\nSMTP_TLS=yes\nSMTP_STORE_FILE=/x\nSMTP_STRESS_TIMEOUT=9\n")
    done = shell.run("compose.sh", "up")
    assert done.returncode == 2
    assert [line.split("=")[0].split(":")[-1].strip() for line in done.stderr.splitlines()[:3]] == [
        "SMTP_PORT",
        "SMTP_STORE_FILE",
        "an advanced setting, expected in docker-compose.override.yml, under environment of smtp",
    ]
    assert "  SMTP_TLS='yes': expected port 2525" in done.stderr
    assert done.stderr.endswith("nothing is started, what runs stays as it was\n")
    assert not [call for call in shell.calls if call.startswith("compose up")]


def test_an_advanced_setting_of_an_override_is_passed_on(shell):
    shell.docker("")
    (shell.folder / "docker-compose.override.yml").write_text(
        "services:\n  smtp:\n    environment:\n      - SMTP_STRESS_TIMEOUT\n"
    )
    shell.dotenv("SMTP_STRESS_TIMEOUT=9\n")
    done = shell.run("compose.sh", "up")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"compose {CHECK}" in shell.calls


def test_nothing_is_built_for_what_cannot_be_started(shell):
    shell.docker('case $* in "image inspect"*) exit 1 ;; esac')
    assert shell.run("compose.sh", "up", SMTP_PORT="0").returncode == 2
    assert not [call for call in shell.calls if call.startswith(("pull", "compose build"))]


@pytest.mark.parametrize(
    ("port", "is_told"), [("8025", False), ("9025", True), ("9025 in both", False)]
)
def test_compose_says_where_prometheus_has_its_port_from(shell, port, is_told):
    shell.docker("")
    port, _, in_both = port.partition(" ")
    path = shell.folder / "deployment" / "prometheus" / "prometheus.yml"
    if in_both:
        path.write_text(path.read_text().replace("smtp:8025", f"smtp:{port}"))
    done = shell.run("compose.sh", "--profile", "monitoring", "up", SMTP_HTTP_PORT=port)
    told = f"compose.sh: SMTP_HTTP_PORT='{port}': write it in deployment/prometheus/prometheus.yml"
    assert (done.returncode, told in done.stderr) == (0, is_told)
    assert shell.run("compose.sh", "up", SMTP_HTTP_PORT=port).stderr == ""


def test_compose_up_builds_what_is_missing_before_it_checks(shell):
    shell.docker('case $* in "image inspect prixfixe"*) exit 1 ;; esac')
    assert shell.run("compose.sh", "up").returncode == 0
    calls = [call for call in shell.calls if call.startswith("compose ") and "version" not in call]
    assert calls == ["compose build smtp", f"compose {CHECK}", "compose up"]
