"""Every reply the server sends, with its RFC; no other module contains a reply code.

A reply's code class equals that of its enhanced code (RFC 2034 section 4). No line exceeds 512
octets with its CRLF (RFC 5321 section 4.5.3.1.5). No reply repeats what a client sent.
"""

from __future__ import annotations

__all__ = [
    "Reply",
    "bdat_received",
    "ehlo",
    "fault",
    "greeting",
    "helo",
    "kept",
    "of_handler",
]

HANDLER = "handler"  # the cause of a handler's replies
MAX_OCTETS = 512  # of a line with its CRLF (RFC 5321 section 4.5.3.1.5)


class Reply:
    """One SMTP reply: code, enhanced status code (RFC 3463) and text, encoded once.

    `limit` names the limit that was met, for metrics and log: a setting in lower case without its
    prefix. SMTP_MAX_ERRORS counts replies with `is_refusal`, by default all 5xx. `cause` names the
    fault that a reply is of, or is HANDLER.
    """

    __slots__ = ("cause", "code", "is_refusal", "limit", "wire")

    def __init__(
        self, code: int, enhanced: str, text: str, limit: str = "", *, is_refusal: bool = False
    ) -> None:
        self.code = code
        self.limit = limit
        self.cause = ""
        self.is_refusal = is_refusal or code >= 500
        status = f"{enhanced} " if enhanced else ""
        self.wire = f"{code} {status}{text}\r\n".encode("ascii")

    def lines(self) -> list[str]:
        """Return the lines without CRLF."""
        return self.wire.decode("utf-8", "replace").removesuffix("\r\n").split("\r\n")

    def __str__(self) -> str:
        return self.wire.decode("utf-8", "replace").strip()

    def __repr__(self) -> str:
        return f"<Reply {str(self)!r}>"


def greeting(domain: str, ident: str = "ESMTP PrixFixe") -> Reply:
    """Return the opening banner (RFC 5321 section 3.1); RFC 2034 exempts it from codes."""
    return Reply(220, "", f"{domain} {ident}")


def of_handler(code: int, lines: list[str], charset: str = "ascii") -> Reply:
    """Return a reply of a handler: whole lines without CRLF, each cut to 512 octets with it."""
    reply = Reply(code, "", "")
    reply.cause = HANDLER
    cut = (line.encode(charset, "replace")[: MAX_OCTETS - 2] for line in lines)
    reply.wire = b"".join(line + b"\r\n" for line in cut)
    return reply


def helo(domain: str) -> Reply:
    """Return the one-line answer to HELO."""
    return Reply(250, "", domain)


def ehlo(domain: str, keywords: list[str]) -> Reply:
    """Return the multi-line answer to EHLO (RFC 5321 section 4.1.1.1)."""
    reply = Reply(250, "", domain)
    lines = [f"{domain} at your service", *keywords]
    last = len(lines) - 1
    reply.wire = "".join(
        f"250{' ' if number == last else '-'}{line}\r\n" for number, line in enumerate(lines)
    ).encode("ascii")
    return reply


def kept(message_id: str) -> bytes:
    """Return the 250 of a stored message as sent; clients may rely on `queued as ID`."""
    return f"250 2.0.0 OK queued as {message_id}\r\n".encode("ascii")


def fault(line: str, cause: str) -> Reply:
    """Return the reply of a fault: a line of ASCII that begins with a code of 4xx or 5xx."""
    reply = Reply(int(line[:3]), "", line[4:])
    reply.wire = f"{line}\r\n".encode("ascii")
    reply.cause = cause
    return reply


def bdat_received(octets: int) -> Reply:
    """Return the answer to an intermediate BDAT chunk (RFC 3030 section 2)."""
    return Reply(250, "2.0.0", f"{octets} octets received")


# --- success and continuation
KEPT_CODE = 250
CHALLENGE_CODE = 334
OK = Reply(250, "2.0.0", "OK")
SENDER_OK = Reply(250, "2.1.0", "OK")
RECIPIENT_OK = Reply(250, "2.1.5", "OK")
VRFY = Reply(252, "2.5.2", "Cannot VRFY, but will take mail and try")  # RFC 5321 3.5.3
HELP = Reply(214, "2.0.0", "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP STARTTLS AUTH")
BYE = Reply(221, "2.0.0", "Bye")
START_DATA = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
START_TLS = Reply(220, "2.0.0", "Ready to start TLS")
AUTHENTICATED = Reply(235, "2.7.0", "Authentication successful")  # RFC 4954 6

# --- the server's own state: always temporary
TOO_MANY_CONNECTIONS = Reply(421, "4.3.2", "Too many connections, try again later")
TOO_MANY_FROM_PEER = Reply(421, "4.7.0", "Too many connections from your address, try later")
TOO_OFTEN_FROM_PEER = Reply(421, "4.7.0", "Your address connects too often, try later")
TOO_MANY_CALLS = Reply(421, "4.7.0", "Too many commands of this kind, closing the connection")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors, closing the connection", "max_errors")
TOO_MANY_FAILED_LOGINS = Reply(
    421, "4.7.0", "Too many failed logins, closing the connection", "failed_logins"
)
TOO_MANY_MESSAGES = Reply(421, "4.7.0", "Too many messages, connect again", "max_messages")
NOT_SMTP = Reply(421, "4.7.0", "This is an SMTP server, closing the connection")
BAD_PROXY_HEADER = Reply(421, "4.3.2", "No valid PROXY header, closing the connection")
LOST_SYNC = Reply(421, "4.7.0", "Cannot tell data from commands, closing the connection")
IDLE = Reply(  # RFC 5321 4.5.3.2
    421, "4.4.2", "Idle for too long, closing the connection", "timeout"
)
TOO_SLOW = Reply(421, "4.4.2", "Data came too slowly, closing the connection", "min_data_rate")
SESSION_TOO_LONG = Reply(
    421, "4.4.2", "The session has lasted too long, connect again", "max_session_time"
)
MAKE_ROOM = Reply(421, "4.4.5", "Others need the place, try again later", "stress_timeout")
TOO_MANY_HELD = Reply(421, "4.3.2", "Faults hold too many connections, closing this one", "faults")
SHUTTING_DOWN = Reply(421, "4.3.2", "Shutting down, try again later")  # RFC 5321 3.8
STORE_FAILED = Reply(451, "4.3.0", "Could not keep the message, try again later")
STORE_SLOW = Reply(451, "4.3.0", "The store does not answer, try again later", "store_timeout")
STORE_FULL = Reply(452, "4.3.1", "No room for the message, try again later")
HANDLER_SLOW = Reply(451, "4.3.0", "No answer in time, try again later")
HANDLER_SLOW.cause = HANDLER
INTERNAL = Reply(451, "4.3.0", "Internal trouble, try again later")
BROKEN = Reply(421, "4.3.0", "Internal trouble, closing the connection")
AUTH_UNAVAILABLE = Reply(454, "4.7.0", "Cannot check credentials now, try again later")
TOO_MANY_RECIPIENTS = Reply(
    452,
    "4.5.3",
    "Too many recipients, send to the rest separately",
    "max_recipients",
    is_refusal=True,
)

# --- syntax
BAD_LINE = Reply(500, "5.5.2", "Lines end with CRLF and hold neither CR nor LF")
BAD_CHARACTER = Reply(500, "5.5.2", "Syntax error, invalid character")  # RFC 5321 2.4
LINE_TOO_LONG = Reply(500, "5.5.2", "Line too long")
UNKNOWN = Reply(500, "5.5.1", "Command unknown")
NOT_IMPLEMENTED = Reply(502, "5.5.1", "Command not implemented")
NO_ARGUMENT = Reply(501, "5.5.4", "This command takes no argument")
NEEDS_ARGUMENT = Reply(501, "5.5.4", "An argument is missing")
BAD_HELO = Reply(501, "5.5.2", "Expected a host name or address literal")
MAIL_SYNTAX = Reply(501, "5.5.2", "Expected MAIL FROM:<address> and parameters")
RCPT_SYNTAX = Reply(501, "5.5.2", "Expected RCPT TO:<address> and parameters")
BAD_SENDER = Reply(501, "5.1.7", "Bad sender address syntax")
BAD_RECIPIENT = Reply(501, "5.1.3", "Bad recipient address syntax")
BAD_MAILBOX = Reply(553, "5.1.3", "Not a mailbox")  # RFC 5321 4.2.3
NEEDS_SMTPUTF8 = Reply(553, "5.6.7", "This address needs SMTPUTF8")  # RFC 6531 3.5
BAD_PARAMETER = Reply(501, "5.5.4", "Bad parameter syntax or value")
UNKNOWN_PARAMETER = Reply(555, "5.5.4", "Parameter not recognised")  # RFC 5321 4.1.1.11
BDAT_SYNTAX = Reply(501, "5.5.4", "Expected BDAT octets [LAST]")
AUTH_SYNTAX = Reply(501, "5.5.4", "Expected AUTH mechanism [initial-response]")
BAD_BASE64 = Reply(501, "5.5.2", "Not a base64 response")
BAD_SCRAM = Reply(501, "5.5.2", "Not a response of SCRAM-SHA-256 without channel binding")
AUTH_CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")

# --- sequence
SEND_EHLO_FIRST = Reply(503, "5.5.1", "Send EHLO first")
NESTED_MAIL = Reply(503, "5.5.1", "A sender is already given")
NEED_MAIL = Reply(503, "5.5.1", "MAIL first")
NEED_RCPT = Reply(503, "5.5.1", "No valid recipients")
BDAT_BEGUN = Reply(503, "5.5.1", "BDAT has begun, only BDAT or RSET may follow")
TLS_NOT_AVAILABLE = Reply(454, "4.7.0", "TLS is not available")  # RFC 3207 4
DATA_LINE_TOO_LONG = Reply(500, "5.6.0", "Message holds a line over 998 octets")
TLS_ACTIVE = Reply(503, "5.5.1", "TLS is already active")
TLS_NOT_OFFERED = Reply(502, "5.5.1", "TLS is not offered")
AUTH_NOT_OFFERED = Reply(502, "5.5.1", "AUTH is not offered")
AUTH_DONE = Reply(503, "5.5.1", "Already authenticated")
AUTH_IN_TRANSACTION = Reply(503, "5.5.1", "No AUTH during a mail transaction")  # RFC 4954 4

# --- policy
NEEDS_TLS = Reply(530, "5.7.0", "Must issue STARTTLS first")  # RFC 3207 4
NEEDS_AUTH = Reply(530, "5.7.0", "Authentication required")  # RFC 4954 6
AUTH_NEEDS_TLS = Reply(538, "5.7.11", "Encryption required for authentication")
UNKNOWN_MECHANISM = Reply(504, "5.5.4", "Unrecognised authentication mechanism")
BAD_CREDENTIALS = Reply(535, "5.7.8", "Authentication credentials invalid")
TLS_NOT_ENOUGH = Reply(554, "5.7.0", "Refused for lack of security")  # RFC 3207 4.1
NO_SUCH_RECIPIENT = Reply(550, "5.1.1", "No such recipient here")
TOO_BIG = Reply(552, "5.3.4", "Message exceeds the maximum size", "max_message_size")  # RFC 1870 6
BARE_LINE_END = Reply(550, "5.5.2", "Message holds a CR or LF that is not part of a CRLF")
BARE_LF = Reply(
    550, "5.5.2", "Message holds a LF without a CR before it: lines end with CRLF (SMTP_BARE_LF)"
)
MESSAGE_LINE_TOO_LONG = Reply(550, "5.6.0", "Message holds a line over 998 octets")
TOO_MANY_HOPS = Reply(554, "5.4.6", "Too many Received fields, a mail loop")  # RFC 5321 6.3
