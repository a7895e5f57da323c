"""Which of aiosmtpd's tests differ on purpose, or are about its own insides, and why.

The first pattern that is found in the name of a test applies. A test that passes needs none.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["DIFFERENCES", "INSIDES", "Reason", "reason_of"]


class Reason(NamedTuple):
    """Why a test does not pass, and the RFC that says so, if one does."""

    pattern: str
    why: str
    rfc: str = ""


DIFFERENCES = (
    Reason(r"test_help(_|\b)", "HELP is 214; aiosmtpd says 250", "RFC 5321 section 4.3.2"),
    Reason(
        r"TestRequiredAuthentication::test_help",
        "HELP needs no login, and is 214",
        "RFC 5321 section 4.3.2",
    ),
    Reason(
        r"::test_ehlo$",
        "the test lists every extension, and there are more: PIPELINING, CHUNKING, DSN,"
        " ENHANCEDSTATUSCODES",
        "RFC 2920, RFC 3030, RFC 3461, RFC 2034",
    ),
    Reason(
        r"test_vrfy_not_address",
        "VRFY takes a user's name too, and answers 252",
        "RFC 5321 section 3.5.1",
    ),
    Reason(
        r"TestSMTPAuth::test_helo$",
        "AUTH after HELO is a bad sequence (503), no unknown command (500)",
        "RFC 5321 section 4.1.4",
    ),
    Reason(
        r"test_auth_loginteract_warning",
        "responses of AUTH are never logged, so there is nothing to warn of",
        "RFC 4954 section 9",
    ),
    Reason(
        r"test_bad_encodings|test_bad_encoded_param",
        "a path is ASCII or UTF-8, and UTF-8 needs SMTPUTF8: else 501 or 553",
        "RFC 6531 section 3.3",
    ),
    Reason(
        r"TestStrictASCII::test_mail_param",
        "a parameter that is not offered is 555, where aiosmtpd says 501",
        "RFC 5321 section 4.1.1.11",
    ),
    Reason(
        r"TestStrictASCII::test_data|test_smtp_smuggling",
        "the test sends lines that end with LF alone: 550",
        "RFC 5321 section 2.3.8",
    ),
    Reason(
        r"test_too_long_lines_then_too_long_body",
        "a message that is too large is told so (552), whatever else is wrong with it",
        "RFC 1870 section 6.3",
    ),
    Reason(
        r"TestSleepingHandler::test_close_after_helo",
        "a client that has sent all it wants still reads its replies",
        "RFC 5321 section 3.8",
    ),
    Reason(
        r"TestTimeout::test_timeout",
        "an idle client reads 421 before the connection is closed",
        "RFC 5321 sections 3.8 and 4.5.3.2.7",
    ),
    Reason(
        r"test_limit_bogus",
        "unknown commands count as errors of any kind: 421 after SMTP_MAX_ERRORS, not 502",
        "RFC 5321 section 3.8",
    ),
)
INSIDES = (
    Reason(r"^test_lmtp", "aiosmtpd's class LMTP, which is refused by name"),
    Reason(r"test_noexc_smtpd_missing", "calls `_factory_invoker` of the controller itself"),
    Reason(r"^test_main", "aiosmtpd's own command line"),
    Reason(
        r"process_message_error|test_unexpected_errors|test_exception_handler",
        "a subclass of SMTP that overrides `smtp_HELO`, which is refused by name",
    ),
    Reason(r"TestClientCrash", "spies on `smtpd._writer.close`"),
    Reason(r"sanitized_log", "the words of aiosmtpd's log of commands"),
    Reason(r"test_long_line_leak", "patches `aiosmtpd.smtp.EMPTY_BARR`"),
    Reason(r"test_too_long_(body|line)_delay_error", "compares the bytes of a reply's wording"),
    Reason(
        r"TestTLSEnding", "calls `eof_received` of the protocol, or wants its TLSSetupException"
    ),
)


def reason_of(name: str) -> tuple[str, Reason] | None:
    """Return `insides` or `difference`, and the reason, or None."""
    for kind, reasons in (("insides", INSIDES), ("difference", DIFFERENCES)):
        for reason in reasons:
            if re.search(reason.pattern, name):
                return kind, reason
    return None
