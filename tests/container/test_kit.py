"""The kit for test authors with a container, and the image in the place of Mailpit's.

Its judges are testcontainers' own module for Mailpit and pytest-mailpit's functions, unchanged.
"""

import inspect
import smtplib
import ssl
import warnings
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import pytest
import requests
import yaml
from pytest_mailpit._container import CONTAINER_ENV
from pytest_mailpit.chaos import Chaos
from pytest_mailpit.client import MailpitClient
from pytest_mailpit.errors import MailpitAPIError
from testcontainers.community.mailpit import MailpitContainer, MailpitUser
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs

from prixfixe.testing import KitError, PrixFixeContainer
from tests.container import engine
from tests.container.builder import ROOT
from tests.documents.blocks import named
from tests.integration.mailpit_clients.table import PYTEST_MAILPIT
from tests.support.pytest_runner import SHARED, run_tests

pytestmark = [
    pytest.mark.timeout(240),  # the first one builds
    pytest.mark.xdist_group("kit"),
    # testcontainers' own, of the function by which its modules wait
    pytest.mark.filterwarnings("ignore::DeprecationWarning:testcontainers"),
]


def letter(to="ann@example.com", subject="Hello"):
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "Shop <shop@example.org>", to, subject
    made["List-Unsubscribe"] = "<https://shop.example/u>, <mailto:u@shop.example>"
    made.set_content("Your code is 482913.\nhttps://shop.example/confirm?id=7\n")
    made.add_alternative(
        '<p>Code 482913 <a href="https://shop.example/confirm?id=7&amp;a=b">yes</a></p>',
        subtype="html",
    )
    made.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="bill.pdf")
    return made


# --- the kit with a container


def test_the_container_has_the_same_inbox(image):
    with PrixFixeContainer(image, labels=engine.labels()) as server:
        inbox = server.inbox("ann")
        fault = inbox.faults.add(stage="rcpt", reply="451 4.2.1 busy", times=1)
        with smtplib.SMTP(server.smtp_host, server.smtp_port) as smtp:
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                smtp.send_message(letter(inbox.address))
            smtp.send_message(letter(inbox.address))
        mail = inbox.wait(subject="Hello")
        assert (mail.code(), mail.attachments[0].name, fault.hits) == ("482913", "bill.pdf", 1)
        assert [one.stage for one in inbox.refused] == ["rcpt"]
        inbox.assert_none(sender="nobody@example.org")
        assert server.env["EMAIL_PORT"] == str(server.smtp_port)


def test_the_example_of_the_document(image):
    made = f"PrixFixeContainer({image!r}, labels={engine.labels()!r}, "
    text = named("docs/testing.md", "container").replace("PrixFixeContainer(s", f"{made}s")
    found = {}
    exec(text.replace("…", "found = inbox.messages"), found)
    assert (made in text, found["found"]) == (True, [])


def test_tests_share_the_service_of_a_workflow(image, tmp_path):
    """As docs/testing.md shows it for GitHub, with the ports that were free, and a token."""
    service = yaml.safe_load(named("docs/testing.md", "github"))["services"]["mail"]
    settings = {**service["env"], "SMTP_HTTP_TOKEN": "a-secret"}
    with PrixFixeContainer(image, settings=settings, labels=engine.labels()) as server:
        smtp = f"{server.smtp_host}:{server.smtp_port}"
        shared = ("--prixfixe-url", server.url, "--prixfixe-smtp", smtp)
        token = {"PRIXFIXE_TOKEN": server.env["PRIXFIXE_TOKEN"]}
        code, output = run_tests(
            tmp_path, SHARED, "-n", "4", *shared, plugins=["xdist"], environ=token
        )
    assert (code, "42 passed" in output) == (0, True), output


def test_a_container_that_ends_says_why(image):
    server = PrixFixeContainer(image, settings={"SMTP_PORT": "x"}, labels=engine.labels())
    with pytest.raises(KitError, match="SMTP_PORT='x': expected a port"):
        server.start()


# --- in the place of Mailpit


@pytest.fixture(scope="module")
def mailpit(image):
    """The id of the image in the place of Mailpit's, made of the image under test."""
    made, _log = engine.client().images.build(
        path=str(ROOT / "docker"),
        dockerfile="mailpit.Dockerfile",
        buildargs={"IMAGE": image},
        labels=engine.labels(),
        tag=engine.new_name(),
        rm=True,
    )
    return made.id


def quiet(start):
    """Start a module of testcontainers, which warns of what it does itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return start()


@pytest.fixture(scope="module")
def running(mailpit):
    """It as pytest-mailpit starts it: every login, STARTTLS, chaos."""
    container = MailpitContainer(mailpit, labels=engine.labels())
    for name, value in CONTAINER_ENV.items():
        container.with_env(name, value)
    quiet(container.start)
    yield container
    container.stop()


@pytest.fixture
def client(running):
    with MailpitClient(running.get_base_api_url(), poll_interval=0.05) as made:
        made.delete_all()
        yield made


def send(container, message):
    host, port = container.get_container_host_ip(), container.get_exposed_smtp_port()
    with smtplib.SMTP(host, port) as smtp:
        smtp.send_message(message)


def test_testcontainers_module_starts_it_and_any_login_will_do(running):
    host, port = running.get_container_host_ip(), running.get_exposed_smtp_port()
    with smtplib.SMTP(host, port) as smtp:
        assert smtp.login("any", "auth")[0] == 235
        smtp.starttls(context=ssl._create_unverified_context())
        assert smtp.noop()[0] == 250
    for path in ("/", "/livez", "/readyz"):
        assert requests.get(running.get_base_api_url() + path, timeout=20).status_code == 200


def test_testcontainers_module_requires_tls_and_its_users(mailpit):
    users = [MailpitUser("jane", "secret"), MailpitUser("ron", "pass2")]
    container = MailpitContainer(mailpit, users=users, require_tls=True, labels=engine.labels())
    quiet(container.start)
    try:
        host, port = container.get_container_host_ip(), container.get_exposed_smtp_port()
        context = ssl._create_unverified_context()
        with smtplib.SMTP_SSL(host, port, context=context) as smtp:
            with pytest.raises(smtplib.SMTPAuthenticationError):
                smtp.login("jane", "wrong")
            assert smtp.login("ron", "pass2")[0] == 235
            smtp.send_message(letter())
        found = container.get_wrapped_container()
        [server] = found.top(ps_args="-eo uid,pid,args")["Processes"]
        assert server[0] == "1000"  # It gave up the rights of root.
        checked = found.exec_run(["/usr/local/bin/prixfixe", "check"])
        assert (checked.exit_code, checked.output) == (0, b"")
    finally:
        container.stop()


def test_a_certificate_of_another_user_is_an_error_that_says_what_to_do(mailpit):
    container = MailpitContainer(mailpit, user="4711", labels=engine.labels())
    container._configure()
    quiet(lambda: super(MailpitContainer, container).start())
    try:
        found = container.get_wrapped_container()
        assert found.wait(timeout=60)["StatusCode"] == 2
        assert b"the server is user 4711: let it read the file (chown 4711" in found.logs()
    finally:
        container.stop()


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"MP_SMTP_TLS_CERT": "sans:mail.test", "MP_MAX_MESSAGES": "2"}, "mail.test"),
        ({"MP_WEBROOT": "mail"}, "MP_WEBROOT has no effect"),
    ],
)
def test_its_variables_are_read_and_others_are_told(mailpit, environ, told):
    container = DockerContainer(mailpit, labels=engine.labels()).with_exposed_ports(8025)
    for name, value in environ.items():
        container.with_env(name, value)
    with container:
        quiet(lambda: wait_for_logs(container, "accessible via http://localhost:8025/"))
        assert told.encode() in container.get_logs()[0]


# --- what pytest-mailpit has


def test_every_function_is_in_the_table_of_clients():
    own = {name for name, each in vars(MailpitClient).items() if inspect.isfunction(each)}
    no_requests = {"close", "view_url", "search_url"}
    assert {name for name in own if name[0] != "_"} - no_requests == set(PYTEST_MAILPIT)


def test_it_reads_what_there_is(running, client):
    send(running, letter("Ann <ann@example.com>"))
    [summary] = client.messages().messages
    assert client.is_ready()
    assert client.info().messages == 1
    assert client.search("subject:hello").messages == (summary,)
    assert client.search_all("to:ann@example.com") == [summary]
    mail = client.get_message(summary.id)
    assert mail.link(contains="a=b") == "https://shop.example/confirm?id=7&a=b"
    assert mail.code() == "482913"
    assert client.get_headers(mail.id)["Subject"] == ["Hello"]
    assert b"Subject: Hello" in client.get_raw(mail.id)
    [bill] = mail.attachments
    assert client.get_attachment(bill) == client.get_part(mail.id, bill.part_id) == b"%PDF"
    assert mail.unsubscribe_link() == "https://shop.example/u"
    page = requests.get(client.html_url(mail.id), timeout=20)
    assert (page.status_code, "482913" in page.text) == (200, True)
    assert requests.get(client.view_url(mail.id), timeout=20).status_code == 200


def test_it_waits(running, client):
    send(running, letter())
    assert client.wait_for_message(recipient="ann@example.com").subject == "Hello"
    send(running, letter())
    assert len(client.wait_for_messages(2, sender="shop@example.org")) == 2
    client.assert_no_message(recipient="bob@example.com", within=0.1)
    with pytest.raises(AssertionError):
        client.wait_for_message(recipient="bob@example.com", timeout=0.1)
    assert abs(client.server_time() - datetime.now(UTC)) < timedelta(minutes=5)


def test_it_changes(running, client):
    send(running, letter())
    send(running, letter("bob@example.com"))
    first = client.search("to:ann@example.com").messages[0]
    client.mark_read([first.id])
    client.set_tags([first.id], ["red", "blue"])
    [seen] = client.search("is:read tag:red").messages
    assert (seen.id, set(seen.tags)) == (first.id, {"red", "blue"})
    client.delete_search("to:bob@example.com")
    client.delete_messages([first.id])
    assert client.messages().messages == ()


def test_it_causes_chaos(running, client):
    chaos = Chaos(client)
    chaos.reject_recipients(451)
    assert chaos.triggers.recipient.error_code == 451
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(running, letter())
    chaos.reset()
    send(running, letter())


@pytest.mark.parametrize("check", ["check_links", "check_html"])
def test_it_checks_neither_links_nor_html(running, client, check):
    """PrixFixe fetches nothing on behalf of a mail."""
    send(running, letter())
    with pytest.raises(MailpitAPIError, match="404"):
        getattr(client, check)(client.messages().messages[0].id)
