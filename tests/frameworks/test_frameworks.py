"""Django, Flask-Mail and FastAPI-Mail by the examples of docs/testing.md, as they stand there."""

import re
import subprocess
import sys

import pytest

from tests.documents.blocks import ROOT, named
from tests.support.pytest_runner import run_tests
from tests.support.script_runner import clean_environ

DOCUMENT = "docs/testing.md"
IS_WHO = "    assert inbox.wait().envelope.user == 'shop'\n"  # ends a test of the document

DJANGO_SETTINGS = """
SECRET_KEY = "of tests"
ROOT_URLCONF = "shop_urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = [
    f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "messages", "sessions")
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
PROCESSORS = ["django.template.context_processors.request"]
PROCESSORS += [f"django.contrib.{one}" for one in ("auth.context_processors.auth", "messages.context_processors.messages")]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": PROCESSORS},
}]
"""
# What a project has in production, and what a test must not meet.
ELSEWHERE = """
EMAIL_HOST, EMAIL_PORT = "127.0.0.1", 1
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD, EMAIL_USE_TLS = "someone", "else", True
"""
MAILERS = """
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": {"host": "127.0.0.1", "port": 1}}}
"""
OPTIONS = "{'host': cls.server.smtp_host, 'port': cls.server.smtp_port}"
DJANGO_URLS = """
from django.contrib import admin
from django.core.mail import send_mail
from django.http import HttpResponse
from django.urls import include, path

def sign_up(request):
    send_mail("Welcome", "Hello.", None, [request.POST["email"]])
    return HttpResponse()

urlpatterns = [
    path("admin/", admin.site.urls),
    path("sign-up/", sign_up),
    path("", include("django.contrib.auth.urls")),
]
"""
FLASK_SHOP = """
from flask import Flask, request
from flask_mail import Mail, Message

mail = Mail()

def create_app():
    app = Flask("shop")
    app.config.update(TESTING=True, MAIL_DEFAULT_SENDER="shop@example.com")
    app.config.update(MAIL_USERNAME="someone", MAIL_PASSWORD="else", MAIL_USE_TLS=True)
    mail.init_app(app)

    @app.post("/sign-up")
    def sign_up():
        mail.send(Message("Welcome", recipients=[request.form["email"]], body="Hello."))
        return "", 204

    return app
"""
FASTAPI_SHOP = """
from typing import Annotated

from fastapi import Body, Depends, FastAPI
from fastapi_mail import FastMail, MessageSchema, MessageType

app = FastAPI()

def mailer():
    raise AssertionError("the mailer of production")

@app.post("/sign-up")
async def sign_up(
    email: Annotated[str, Body(embed=True)], mailer: Annotated[FastMail, Depends(mailer)]
):
    letter = MessageSchema(
        subject="Welcome", recipients=[email], body="Hello.", subtype=MessageType.plain
    )
    await mailer.send_message(letter)
"""


@pytest.fixture
def project(tmp_path):
    """A folder with a Django project; return what makes it, which takes more settings."""

    def make(more):
        (tmp_path / "shop_settings.py").write_text(DJANGO_SETTINGS + more)
        (tmp_path / "shop_urls.py").write_text(DJANGO_URLS)
        return tmp_path

    return make


@pytest.fixture
def tls(tmp_path):
    (tmp_path / "conftest.py").write_text(named(DOCUMENT, "tls"))


def run_django(folder, text):
    place = {"DJANGO_SETTINGS_MODULE": "shop_settings"}
    return run_tests(folder, text, plugins=["django"], environ=place)


def with_login(text, client):
    """Return an example with the options of the table for servers with TLS and logins."""
    [options] = re.findall(
        rf"^\| {client} \| `([^`]+)`", (ROOT / DOCUMENT).read_text(), re.MULTILINE
    )
    for one in options.split(", "):
        name, _, value = one.partition("=")
        text, count = re.subn(rf"\b{name}=[^,\n]+", f"{name}={value}", text)
        if not count:
            text = text.replace("MAIL_PORT=", f"{one}, MAIL_PORT=")
    return text


def is_django_with_mailers():
    import django

    return django.VERSION >= (6, 1)


# --- Django


def test_django(project):
    code, output = run_django(project(ELSEWHERE), named(DOCUMENT, "django"))
    assert (code, "1 passed" in output) == (0, True), output


def test_django_with_tls_and_a_login(project, tls):
    text = f"{named(DOCUMENT, 'django')}{IS_WHO}\n\n{named(DOCUMENT, 'django tls')}"
    code, output = run_django(project(ELSEWHERE), text)
    assert (code, "1 passed" in output) == (0, True), output


def test_django_s_own_runner(project):
    run_own_runner(project(ELSEWHERE), named(DOCUMENT, "django testcase"))


def run_own_runner(folder, text):
    (folder / "test_it.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "django", "test", "--settings=shop_settings", "test_it"],
        cwd=folder,
        env=clean_environ(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "Ran 1 test" in done.stderr) == (0, True), done.stdout + done.stderr


@pytest.mark.skipif(not is_django_with_mailers(), reason="MAILERS came with Django 6.1")
class TestMailers:
    def test_django(self, project):
        text = f"{named(DOCUMENT, 'django')}\n\n{named(DOCUMENT, 'django mailers')}"
        code, output = run_django(project(MAILERS), text)
        assert (code, "1 passed" in output) == (0, True), output

    def test_django_s_own_runner(self, project):
        """The document says what stands in the place of the settings of its example."""
        text = named(DOCUMENT, "django testcase")
        shown = named(DOCUMENT, "django mailers").partition("settings.MAILERS = ")[2]
        ours = f"backend, options = 'django.core.mail.backends.smtp.EmailBackend', {OPTIONS}"
        text, count = re.subn(
            r"( +)cls\.enterClassContext\(override_settings\(.*?\n +\)\)",
            rf"\1{ours}\n\1cls.enterClassContext(override_settings(MAILERS={shown.strip()}))",
            text,
            flags=re.DOTALL,
        )
        assert count == 1
        run_own_runner(project(MAILERS), text)


# --- Flask-Mail, FastAPI-Mail


@pytest.mark.parametrize(
    ("name", "client", "shop"),
    [("flask", "Flask-Mail", FLASK_SHOP), ("fastapi", "FastAPI-Mail", FASTAPI_SHOP)],
)
class TestShop:
    def test_it(self, tmp_path, name, client, shop):
        (tmp_path / "shop.py").write_text(shop)
        code, output = run_tests(tmp_path, named(DOCUMENT, name))
        assert (code, "1 passed" in output) == (0, True), output

    def test_with_tls_and_a_login(self, tmp_path, tls, name, client, shop):
        (tmp_path / "shop.py").write_text(shop)
        text = with_login(named(DOCUMENT, name), client) + IS_WHO
        code, output = run_tests(tmp_path, text)
        assert (code, "1 passed" in output) == (0, True), output
