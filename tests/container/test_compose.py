"""docker compose with the file as it is: up, mail, restart, down, up again, build."""

import os
import signal
import subprocess

import pytest

from tests.container import engine
from tests.container.builder import revision
from tests.container.deployed import taken_port
from tests.container.hardening import check, check_asked
from tests.container.talk import body_of, deliver
from tests.container.waiting import eventually
from tests.support.script_runner import ROOT

pytestmark = pytest.mark.timeout(240)  # some build the image, with a cache that may be cold


@pytest.fixture
def deploy(deployed):
    """A folder with the compose file and ports of its own, and nothing running yet."""
    with taken_port() as smtp, taken_port() as http:
        deployed.environ |= {"SMTP_PORT": str(smtp), "SMTP_HTTP_PORT": str(http)}
        deployed.smtp, deployed.api = smtp, http
        yield deployed


def up(deploy):
    return deploy.succeed("compose.sh", "up", "--wait", "--detach")


def send(deploy):
    with deploy.hello(deploy.smtp) as wire:
        return deliver(wire, body_of(500))


def kept(deploy):
    return [one.id for one in deploy.messages(deploy.api)]


def test_up_gives_a_healthy_hardened_server(deploy):
    up(deploy)
    assert deploy.state["Health"]["Status"] == "healthy"
    assert deploy.address(deploy.smtp) == ("127.0.0.1", deploy.smtp)
    assert deploy.address(deploy.api) == ("127.0.0.1", deploy.api)
    check(deploy)
    assert deploy.container.attrs["HostConfig"]["NetworkMode"] == f"{deploy.name}_mail"
    [sent] = deploy.succeed("test-smtp.sh").stdout.split()
    assert kept(deploy) == [sent]


def test_create_asks_for_the_hardened_server(deploy):
    """What `test_teeth` relaxes, one thing at a time, and sees this fail."""
    deploy.succeed("compose.sh", "create")
    check_asked(deploy)


def test_mail_outlives_restart_down_and_up(deploy):
    up(deploy)
    first = send(deploy)
    deploy.succeed("compose.sh", "restart")
    eventually(lambda: deploy.is_greeted(deploy.smtp))
    second = send(deploy)
    assert kept(deploy) == [first, second]
    deploy.succeed("compose.sh", "stop")
    assert (deploy.state["Status"], deploy.state["ExitCode"]) == ("exited", 0)
    assert '"event":"stopped"' in deploy.succeed("compose.sh", "logs", "--no-log-prefix").stdout
    deploy.succeed("compose.sh", "down")
    assert not deploy.is_started
    assert not engine.client().networks.list(names=[f"{deploy.name}_mail"])
    up(deploy)
    assert kept(deploy) == [first, second]
    deploy.succeed("compose.sh", "down", "--volumes")
    assert not engine.client().volumes.list(filters={"name": deploy.name})


def test_mail_that_run_sh_s_server_received_is_there(deploy):
    deploy.succeed("run.sh")
    with deploy.hello(deploy.smtp) as wire:
        first = deliver(wire, body_of(500))
    deploy.succeed("stop.sh", "--remove")
    up(deploy)
    assert kept(deploy) == [first]


def test_settings_and_secrets_come_from_the_env_file(deploy):
    token = deploy.folder / "secrets" / "token"
    token.write_text("opensesame\n")
    token.chmod(0o644)
    deploy.dotenv(
        "SMTP_DOMAIN=mx.example.com # ours\n"
        'SMTP_RECIPIENTS="@example.com,@example.net"\n'
        "SMTP_HTTP_TOKEN_FILE=/run/secrets/token\n"
        "PRIXFIXE_MEMORY=96m\nSMTP_MAX_INFLIGHT=16MiB\nSMTP_SHUTDOWN_TIMEOUT=45s\n"
    )
    up(deploy)
    assert deploy.greeting(deploy.smtp).startswith(b"220 mx.example.com ")
    with deploy.hello(deploy.smtp) as wire:
        codes = wire.ask(
            b"MAIL FROM:<a@b.test>\r\nRCPT TO:<x@example.com>\r\nRCPT TO:<x@other.test>\r\n", 3
        )
    assert codes == [250, 250, 550]
    assert deploy.http("/api/v1/messages", deploy.api).status == 401
    assert (
        deploy.http("/api/v1/messages", deploy.api, Authorization="Bearer opensesame").status == 200
    )
    attrs = deploy.container.attrs
    assert "SMTP_DOMAIN=mx.example.com" in attrs["Config"]["Env"]
    assert attrs["HostConfig"]["Memory"] == 96 * 1024 * 1024
    assert attrs["Config"]["StopTimeout"] == 57  # compose.sh: the setting and some to spare


def test_a_tls_port_is_published_when_there_is_one(deploy):
    with taken_port() as smtps:
        deploy.environ |= {"SMTP_TLS_PORT": str(smtps), "SMTP_TLS_CERT": "self-signed"}
        up(deploy)
        assert deploy.is_greeted_in_tls(smtps)


def test_a_shell_beside_it_sees_it_and_leaves_it_alone(deploy):
    deploy.environ["PRIXFIXE_DEBUG_IMAGE"] = f"{deploy.name}:debug"
    up(deploy)
    before = deploy.container.id, deploy.state["StartedAt"]
    shell = ("run", "--rm", "--no-deps", "debug", "-c")
    look = f"ps -o args; ls /var/mail; wget -qO- http://127.0.0.1:{deploy.api}/livez"
    told = deploy.succeed("compose.sh", *shell, look).stdout
    assert "/usr/local/bin/prixfixe serve" in told
    assert "prixfixe.db" in told
    assert '{"status":"ok"}' in told
    assert (deploy.container.id, deploy.state["StartedAt"]) == before


def test_a_server_that_dies_is_started_again(deploy):
    """By a signal that the engine did not send, from outside: PID 1 ignores it from inside."""
    up(deploy)
    first = send(deploy)
    try:
        os.kill(deploy.state["Pid"], signal.SIGKILL)
    except (PermissionError, ProcessLookupError) as error:
        pytest.skip(f"the engine's processes cannot be reached from here: {error}")
    eventually(lambda: deploy.container.attrs["RestartCount"] == 1, what="a restart")
    eventually(lambda: deploy.is_greeted(deploy.smtp))
    assert kept(deploy) == [first]


def test_a_wrong_setting_is_told_and_what_runs_goes_on(deploy):
    done = deploy.run("compose.sh", "up", "--wait", "--detach", seconds=120, SMTP_TIMEOUT="soon")
    assert done.returncode == 2
    assert "SMTP_TIMEOUT='soon': expected" in done.stderr
    assert not deploy.is_started
    up(deploy)
    before = deploy.container.id, deploy.state["StartedAt"]
    done = deploy.run("compose.sh", "up", "--wait", "--detach", seconds=120, SMTP_TIMEOUT="soon")
    assert done.returncode == 2
    assert "what runs stays as it was" in done.stderr
    assert (deploy.container.id, deploy.state["StartedAt"]) == before
    assert deploy.is_greeted(deploy.smtp)


def test_build_labels_the_image_with_the_commit(deploy):
    """In the checkout itself."""
    environ = deploy.environ | {"PRIXFIXE_IMAGE": f"{deploy.name}:composed"}
    done = subprocess.run(
        [ROOT / "scripts" / "compose.sh", "build"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    labels = engine.client().images.get(f"{deploy.name}:composed").labels
    assert labels["org.opencontainers.image.revision"] == revision()


def test_up_builds_a_missing_image(deploy):
    deploy.environ["PRIXFIXE_IMAGE"] = f"{deploy.name}:missing"
    up(deploy)
    assert deploy.is_greeted(deploy.smtp)
    assert deploy.container.image.tags == [f"{deploy.name}:missing"]
