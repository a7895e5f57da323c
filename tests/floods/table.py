"""The table of floods: what is sent to which port, by how many, and which promise it tries.

A row is data alone, so that the same table attacks a process, a container, and later any server
that is given an address. Octets are text in Latin-1.
"""

import ssl
from typing import NamedTuple

from tests.floods.driver import BIG, STARTTLS

__all__ = ["BIGS", "BIG_OCTETS", "FLOODS", "KINDS", "PASSWORD", "PORTS", "PROXY", "USER", "Flood"]

BIG_OCTETS = 9_600_000  # of the messages that large answers are made of
BIGS = 12  # so many of them: one copy may serve all who read the same
CROWD = 95  # of the 100 connections that compose's defaults allow
USER, PASSWORD = "alice@example.com", "correct horse"
PORTS = ("smtp", "starttls", "smtps", "proxy", "faults", "http", "faults-http")
KINDS = (
    *("cheap commands", "dear commands", "lines", "logins", "TLS records", "half handshakes"),
    *("half PROXY headers", "heads", "chunks", "header bytes", "pipelining", "unread answers"),
    *("slow reading", "slow writing", "half-open", "unfinished bodies", "coming and going"),
    "dear answers",
)


class Flood(NamedTuple):
    """One flood.

    `opening` are steps, each what is sent and what must be answered before the next. Then `repeat`
    is sent, all of it as fast as the server reads; `piece` octets at a time where that is not 0,
    with `pause` seconds after each; and at most `octets` of it a connection where that is not 0.
    `read` is -1 for a client that reads everything, 0 for nothing, else octets a `pause`. `finish`
    is what follows the last octet: "" is silence, "half" the end of one direction, "close" of both.
    `reopen` has a client come again when its connection is over. `holds` are what else of the
    memory formula it may fill (see `memory`).
    """

    id: str
    source: str
    port: str
    kind: str
    what: str
    repeat: str = ""
    opening: tuple[tuple[str, str], ...] = ()
    piece: int = 0
    pause: float = 0.0
    octets: int = 0
    read: int = -1
    finish: str = ""
    reopen: bool = False
    window: int = 0
    holds: tuple[str, ...] = ()
    connections: int = CROWD
    seconds: float = 4.0
    short: str = ""  # "process", or "both" for the container too, where the default run plays it
    needs_big: bool = False
    needs_attempts: bool = False

    @property
    def is_tls(self):
        """Whether the connection begins with a handshake that the driver completes."""
        return self.port == "smtps" and self.kind != "half handshakes"


def _client_hello():
    """Return the first octets of a TLS client, as they are on the wire."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read().decode("latin-1")
    raise AssertionError("a handshake that needs no answer")


HELLO = _client_hello()
GREETED = ("", "220 ")
EHLO = ("EHLO flood.test\r\n", "250 ")
SAID = (GREETED, EHLO)
MAIL = ("MAIL FROM:<a@flood.test>\r\n", "250 ")
RCPT = ("RCPT TO:<b@flood.test>\r\n", "250 ")
DATA = ("DATA\r\n", "354 ")
IN_MAIL = (*SAID, MAIL)
IN_DATA = (*SAID, MAIL, RCPT, DATA)
SECURED = (*SAID, ("STARTTLS\r\n", "220 "), (STARTTLS, ""), EHLO)
PROXY = ("PROXY TCP4 192.0.2.9 192.0.2.1 4000 25\r\n", "220 ")
ORCPT = "RCPT TO:<b%d@flood.test> ORCPT=rfc822;" + "+61" * 160 + "\r\n"
LETTER = "MAIL FROM:<a@flood.test>\r\nRCPT TO:<b@flood.test>\r\nRSET\r\n"
WRONG = "AUTH PLAIN AGFsaWNlQGV4YW1wbGUuY29tAHdyb25n\r\n"
LINE = "x" * 76 + "\r\n"
GET = "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
POST = "POST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
CHUNKED = POST % ("/api/v1/messages", "Transfer-Encoding: chunked\r\n")
DELETED = CHUNKED.replace("POST", "DELETE")
RAW = f"/api/v1/message/{BIG}/raw"
MANY = "".join(ORCPT % number for number in range(50))
# Text in UTF-8, its octets in Latin-1. One character of four octets makes all of a text as wide.
UTF8 = ("MAIL FROM:<a@flood.test> SMTPUTF8\r\n", "250 ")
WIDE = "\xf0\x9f\x93\xa7" + "x" * 300
_LABEL = "".join(chr(0x4E00 + 7 * one) for one in range(20)).encode().decode("latin-1")
U_DOMAIN = ".".join([_LABEL] * 3)  # as long as can be accepted
WIDE_RCPTS = ("".join(f"RCPT TO:<{WIDE}{one}@{U_DOMAIN}>\r\n" for one in range(20)), "250 ")
U_MAIL = UTF8[0] + f"RCPT TO:<b@{U_DOMAIN}>\r\n" * 100 + "DATA\r\n.\r\n"
LONG_LABEL = "".join(chr(0x4E00 + 7 * one) for one in range(300)).encode().decode("latin-1")

# Sources: P1 and P4 are the README's promises, the others are sections of RFCs.
FLOODS = (
    Flood("PF-FLD-001", "P4, RFC 2920 3.1", "smtp", "cheap commands", "NOOP", "NOOP\r\n", SAID, short="both"),
    Flood("PF-FLD-002", "P4, RFC 3461 4.2", "smtp", "dear commands", "RCPT with 480 bytes of ORCPT", MANY, IN_MAIL, reopen=True, holds=("mail",), short="both"),
    Flood("PF-FLD-003", "P4, RFC 6531 3.3", "smtp", "dear commands", "RCPT in UTF-8", "RCPT TO:<\xc3\xa4\xc3\xb6@\xc3\xbc.test>\r\n", (*SAID, ("MAIL FROM:<a@flood.test> SMTPUTF8\r\n", "250 ")), reopen=True, short="process"),
    Flood("PF-FLD-004", "P4, RFC 5321 4.1.4", "smtp", "dear commands", "MAIL, RCPT, RSET", LETTER, SAID),
    Flood("PF-FLD-005", "P4, RFC 5321 4.5.3.1.4", "smtp", "lines", "a line that never ends", "x" * 4096, SAID, reopen=True, short="process"),
    Flood("PF-FLD-006", "P4, RFC 5321 2.3.8", "smtp", "lines", "empty lines", "\r\n", SAID, reopen=True),
    Flood("PF-FLD-007", "P4, RFC 4954 4", "smtp", "logins", "wrong passwords", WRONG, SAID, reopen=True, holds=("logins",)),
    Flood("PF-FLD-008", "P4, RFC 4954 4", "smtp", "logins", "AUTH LOGIN, each time given up", "AUTH LOGIN\r\n*\r\n", SAID, reopen=True, short="process"),
    Flood("PF-FLD-009", "P4, RFC 2920 3.1", "smtp", "unread answers", "HELP, no reply read", "HELP\r\n", SAID, read=0, window=4096, short="process"),
    Flood("PF-FLD-010", "P4, RFC 2920 3.1", "smtp", "unread answers", "EHLO, no reply read", "EHLO flood.test\r\n", SAID, read=0, window=4096),
    Flood("PF-FLD-011", "P4, RFC 2920 3.1", "smtp", "slow reading", "HELP, replies read at 10 kB/s", "HELP\r\n", SAID, read=1000, pause=0.1, window=4096),
    Flood("PF-FLD-012", "P4, RFC 5321 4.5.3.2", "smtp", "slow writing", "a byte of a command every 50 ms", "NOOP\r\n", SAID, piece=1, pause=0.05),
    Flood("PF-FLD-013", "P4, RFC 5321 4.5.3.2", "smtp", "half-open", "the end of input after EHLO", "", SAID, finish="half", reopen=True, pause=0.02),
    Flood("PF-FLD-014", "P4, RFC 5321 4.1.1.10", "smtp", "coming and going", "connect and go", "", (GREETED,), finish="close", reopen=True),
    Flood("PF-FLD-015", "P4, RFC 5321 4.5.3.1.7", "smtp", "unfinished bodies", "9 MB of DATA without an end", LINE, IN_DATA, octets=9_000_000, holds=("mail",), short="process"),
    Flood("PF-FLD-016", "P4, RFC 3030 2", "smtp", "unfinished bodies", "BDAT of 9 MB without an end", LINE, (*SAID, MAIL, RCPT, ("BDAT 10000000\r\n", "")), octets=9_000_000, holds=("mail",)),
    Flood("PF-FLD-017", "P4, RFC 3030 2", "smtp", "chunks", "BDAT of one byte", "BDAT 1\r\nx", (*SAID, MAIL, RCPT), holds=("mail",), reopen=True, short="process"),
    Flood("PF-FLD-018", "P4, RFC 5321 4.5.2", "smtp", "lines", "DATA of lines of one dot more", "..\r\n", IN_DATA, octets=9_000_000, holds=("mail",), reopen=True),
    Flood("PF-FLD-019", "P4, RFC 5321 2.3.8", "smtp", "lines", "DATA of bare line ends", "\n\r", IN_DATA, octets=9_000_000, holds=("mail",)),
    Flood("PF-FLD-020", "P4, RFC 2920 3.1", "smtp", "pipelining", "whole messages in one write", "MAIL FROM:<a@flood.test>\r\nRCPT TO:<b@flood.test>\r\nDATA\r\nx\r\n.\r\n", SAID, connections=20, holds=("mail",)),
    Flood("PF-FLD-021", "P4, RFC 5890 2.3.2.1", "smtp", "dear commands", "RCPT with a label of 300 characters", f"RCPT TO:<b@{LONG_LABEL}>\r\n", (*SAID, UTF8), reopen=True, short="process"),
    Flood("PF-FLD-030", "P4, RFC 3207 4", "starttls", "cheap commands", "NOOP inside TLS", "NOOP\r\n", SECURED, holds=("tls",), short="process"),
    Flood("PF-FLD-031", "P4, RFC 8446 5.1", "starttls", "TLS records", "NOOP in records of one byte", "NOOP\r\n", SECURED, piece=1, holds=("tls",)),
    Flood("PF-FLD-032", "P4, RFC 3207 4", "starttls", "half handshakes", "half a ClientHello after STARTTLS", "", (*SAID, ("STARTTLS\r\n", "220 "), (HELLO[:100], "")), holds=("tls",)),
    Flood("PF-FLD-033", "P4, RFC 3207 5", "starttls", "pipelining", "commands behind STARTTLS", "NOOP\r\n", (*SAID, ("STARTTLS\r\nNOOP\r\n", "220 ")), reopen=True, holds=("tls",)),
    Flood("PF-FLD-034", "P4, RFC 3207 4", "starttls", "dear commands", "RCPT with ORCPT inside TLS", MANY, (*SECURED, MAIL), holds=("mail", "tls"), reopen=True),
    Flood("PF-FLD-040", "P4, RFC 8314 3.3", "smtps", "cheap commands", "NOOP", "NOOP\r\n", SAID, holds=("tls",), short="both"),
    Flood("PF-FLD-041", "P4, RFC 8446 4", "smtps", "half handshakes", "a ClientHello and no more", "", ((HELLO, ""),), holds=("tls",), short="process"),
    Flood("PF-FLD-042", "P4, RFC 8446 4", "smtps", "half handshakes", "a ClientHello by the byte", HELLO, (), piece=1, pause=0.02, holds=("tls",)),
    Flood("PF-FLD-043", "P4, RFC 8446 4", "smtps", "half handshakes", "no TLS at all", "EHLO flood.test\r\n", (), reopen=True, holds=("tls",)),
    Flood("PF-FLD-044", "P4, RFC 8446 5.1", "smtps", "TLS records", "records of one byte", "NOOP\r\n", SAID, piece=1, holds=("tls",)),
    Flood("PF-FLD-045", "P4, RFC 8446 4", "smtps", "coming and going", "handshakes, one after the other", "", (GREETED,), finish="close", reopen=True, connections=20, holds=("tls",)),
    Flood("PF-FLD-046", "P4, RFC 8314 3.3", "smtps", "unread answers", "HELP, no reply read", "HELP\r\n", SAID, read=0, window=4096, holds=("tls",)),
    Flood("PF-FLD-047", "P4, RFC 8314 3.3", "smtps", "unfinished bodies", "9 MB of DATA without an end", LINE, IN_DATA, octets=9_000_000, holds=("mail", "tls")),
    Flood("PF-FLD-050", "P4, PROXY 2.1", "proxy", "half PROXY headers", "a header by the byte", PROXY[0][:-2], (), piece=1, pause=0.02, short="process"),
    Flood("PF-FLD-051", "P4, PROXY 2.2", "proxy", "half PROXY headers", "a header of 64 KiB without an end", "\0" * 1000, (("\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", ""),), octets=60000, short="process"),
    Flood("PF-FLD-052", "P4, PROXY 2.1", "proxy", "cheap commands", "NOOP of a proxied client", "NOOP\r\n", (PROXY, EHLO)),
    Flood("PF-FLD-053", "P4, PROXY 2.1", "proxy", "half PROXY headers", "no header at all", "NOOP\r\n", (), reopen=True),
    Flood("PF-FLD-054", "P4, PROXY 2.2", "proxy", "half PROXY headers", "a header of 64 KiB, then commands in the same write", "NOOP\r\n", (("\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff" + "\0" * 1000, ""),)),
    Flood("PF-FLD-060", "P4, RFC 9112 3", "http", "heads", "GET /livez, pipelined", GET % ("/livez", ""), (), short="process"),
    Flood("PF-FLD-061", "P4, RFC 9112 5", "http", "header bytes", "a header by the byte", "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + "x" * 200, (), piece=1, pause=0.005, short="process"),
    Flood("PF-FLD-062", "P4, RFC 9112 5", "http", "heads", "a header that never ends", "x" * 4096, (("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ", ""),), reopen=True),
    Flood("PF-FLD-063", "P4, RFC 9112 5", "http", "heads", "header lines that never end", "X-A: b\r\n", (("GET /livez HTTP/1.1\r\nHost: localhost\r\n", ""),), reopen=True),
    Flood("PF-FLD-064", "P4, RFC 9112 7.1", "http", "chunks", "chunks of one byte", "1\r\nx\r\n", ((CHUNKED, ""),), connections=4, reopen=True, short="both"),
    Flood("PF-FLD-065", "P4, RFC 9112 7.1.1", "http", "chunks", "chunks with extensions of 500 bytes", "1;" + "x" * 500 + "\r\nx\r\n", ((CHUNKED, ""),), connections=20, reopen=True),
    Flood("PF-FLD-066", "P4, RFC 9112 7.1.2", "http", "chunks", "trailers that never end", "X-A: b\r\n", ((CHUNKED + "0\r\n", ""),), connections=20, reopen=True),
    Flood("PF-FLD-067", "P4, RFC 9112 9.3.2", "http", "pipelining", "GET /readyz and /metrics, pipelined", GET % ("/readyz", "") + GET % ("/metrics", ""), (), connections=20),
    Flood("PF-FLD-068", "P4, RFC 9110 15", "http", "unread answers", "9.6 MB, not read", "", ((GET % (RAW, ""), ""),), read=0, window=4096, connections=100, seconds=8.0, holds=("answers",), short="both", needs_big=True),
    Flood("PF-FLD-069", "P4, RFC 9110 15", "http", "unread answers", "/metrics, pipelined and not read", GET % ("/metrics", ""), (), read=0, window=4096, holds=("answers",)),
    Flood("PF-FLD-070", "P4, RFC 9110 15", "http", "slow reading", "9.6 MB, read at 300 kB/s", "", ((GET % (RAW, ""), ""),), read=30000, pause=0.1, connections=40, holds=("answers",), needs_big=True),
    Flood("PF-FLD-071", "P4, RFC 9110 9.3.5", "http", "unfinished bodies", "DELETE with a body that does not come", "x", (("DELETE /api/v1/message/none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", ""),), piece=1, pause=0.1, short="process"),
    Flood("PF-FLD-072", "P4, RFC 9110 9.3.3", "http", "unfinished bodies", "a gigabyte to anywhere", "x" * 4096, ((POST % ("/livez", "Content-Length: 1000000000\r\n"), ""),), reopen=True, short="process"),
    Flood("PF-FLD-073", "P4, RFC 9112 9.6", "http", "half-open", "the end of input inside a head", "", (("GET /livez HT", ""),), finish="half", reopen=True, pause=0.02),
    Flood("PF-FLD-074", "P4, RFC 9112 9.3", "http", "coming and going", "connect and go", "", (), finish="close", reopen=True),
    Flood("PF-FLD-075", "P4, RFC 9112 9.3", "http", "slow writing", "silent connections", "", (), connections=600),
    Flood("PF-FLD-076", "P4, RFC 9110 9.3.1", "http", "dear answers", "a list of all mail, again and again", GET % ("/api/v1/messages?limit=50", ""), (), connections=20, holds=("answers",)),
    Flood("PF-FLD-077", "P4, RFC 9110 9.3.1", "http", "dear answers", "waiting for mail that never comes", "", ((GET % ("/api/v1/wait?to=nobody&timeout=30", ""), ""),), connections=300),
    Flood("PF-FLD-078", "P4, RFC 9112 7.1", "http", "chunks", "chunks of one byte, to a method that reads them", "1\r\nx\r\n", ((DELETED, ""),), connections=40, reopen=True),
    Flood("PF-FLD-079", "P4, RFC 9110 9.3.3", "http", "unfinished bodies", "a megabyte of mail to send, without an end", "x" * 4096, ((POST % ("/api/v1/send", "Content-Length: 1000000\r\n"), ""),), connections=100, octets=999_000, seconds=8.0),
    Flood("PF-FLD-080", "P4, RFC 9110 9.3.5", "http", "dear commands", "a megabyte of ids to delete, again and again", '["x"]' + " " * 4096, ((POST.replace("POST", "DELETE") % ("/api/v1/messages", "Content-Length: 1000000\r\n"), ""),), connections=100, octets=1_000_000, reopen=True),
    Flood("PF-FLD-090", "P4, RFC 2920 3.1", "faults", "cheap commands", "NOOP, each in a transcript", "NOOP\r\n", SAID, holds=("attempts",), short="process"),
    Flood("PF-FLD-091", "P4, RFC 5321 4.1.1.10", "faults", "coming and going", "20 long recipients, then no more", "", (*SAID, UTF8, WIDE_RCPTS), finish="close", reopen=True, holds=("attempts",), short="process"),
    Flood("PF-FLD-092", "P4, RFC 5321 4.1.1.3", "faults", "dear commands", "RCPT that is refused and remembered", f"RCPT TO:<{WIDE}@>\r\n", (*SAID, UTF8), reopen=True, holds=("attempts",)),
    Flood("PF-FLD-097", "P4, RFC 6531 3.3", "faults", "dear commands", "mail to 100 recipients in UTF-8", U_MAIL, SAID, reopen=True, holds=("attempts", "mail")),
    Flood("PF-FLD-093", "P4, RFC 9110 9.3.1", "faults-http", "dear answers", "all attempts, again and again", GET % ("/api/v1/attempts", ""), (), connections=20, holds=("answers",), short="process", needs_attempts=True),
    Flood("PF-FLD-094", "P4, RFC 9110 9.3.1", "faults-http", "dear answers", "attempts of a name in UTF-8", GET % ("/api/v1/attempts?to=@%E4%B8%80.test", ""), (), holds=("answers",), needs_attempts=True),
    Flood("PF-FLD-095", "P4, RFC 9110 9.3.1", "faults-http", "dear answers", "waits that are over at once", GET % ("/api/v1/wait?query=to:nobody&timeout=0", ""), (), holds=("answers",), short="process", needs_attempts=True),
    Flood("PF-FLD-096", "P4, RFC 9110 15", "faults-http", "unread answers", "all attempts, not read", GET % ("/api/v1/attempts", ""), (), read=0, window=4096, holds=("answers",), needs_attempts=True),
)  # fmt: skip
