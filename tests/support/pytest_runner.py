"""pytest in a process of its own, as users of the kit run it: with the plugins that a test names."""

import subprocess
import sys

from tests.support.script_runner import clean_environ

# 42 tests of mail and faults on one server; none sees another's.
SHARED = """
import smtplib, pytest

@pytest.mark.parametrize("number", range(42))
def test_own_mail_and_own_faults_alone(prixfixe, inbox, number):
    times, code = number % 3, 450 + number % 3
    fault = inbox.faults.add(stage="rcpt", reply=f"{code} 4.2.1 {number}", times=times or 1)
    if not times:
        fault.remove()
    text = f"Subject: {number}\\r\\n\\r\\nhi\\r\\n"
    with smtplib.SMTP(prixfixe.smtp_host, prixfixe.smtp_port, local_hostname="t") as smtp:
        for _ in range(times):
            with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
                smtp.sendmail("shop@example.com", inbox.address, text)
            assert caught.value.recipients[inbox.address] == (code, f"4.2.1 {number}".encode())
        smtp.sendmail("shop@example.com", inbox.address, text)
    assert inbox.wait().subject == str(number)
    assert len(inbox.messages) == 1
    assert not times or fault.hits == times
"""


def run_tests(folder, text, *args, plugins=(), environ=None):
    """Run a text as a file of tests; return the exit code and what it printed."""
    (folder / "test_it.py").write_text(text)
    loaded = [word for name in ("prixfixe", *plugins) for word in ("-p", name)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *loaded]
    done = subprocess.run(
        [*command, "test_it.py", *args],
        cwd=folder,
        env=clean_environ() | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | (environ or {}),
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr
