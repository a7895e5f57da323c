"""The adapters of `prixfixe verify` against small real servers of their protocols."""

import http.server
import json
import smtplib
import socketserver
import threading

import pytest

from prixfixe.verify.dialogue.servers import UnseenError
from prixfixe.verify.readback.base import Place
from prixfixe.verify.readback.files import Mbox
from prixfixe.verify.readback.imap import Imap
from prixfixe.verify.readback.kinds import adapters
from prixfixe.verify.readback.maildev import MailDev
from prixfixe.verify.readback.sink import Sink
from prixfixe.verify.targets.base import files_below
from prixfixe.verify.targets.tcp import TcpMachine

MAIL = b"Subject: x\r\n\r\nhi\r\n"
FRONT = b"Return-Path: <a@x.test>\r\nDelivered-To: b@y.test\r\nReceived: from c id A1;\r\n\tnow\r\n"


def place(port=0, **options):
    return Place(TcpMachine("127.0.0.1", 25), port, {"port": port, **options})


@pytest.fixture
def serve():
    """Serve a handler on a free port until the test ends."""
    servers = []

    def start(server):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return server.server_address[1]

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


class Api(http.server.BaseHTTPRequestHandler):
    """MailDev's API; `root` is where it is."""

    root = "/api/email"
    mails = None

    def do_GET(self):
        listed = [
            {
                "id": name,
                "envelope": {"from": {"address": "a@x.test"}, "to": [{"address": "b@y.test"}]},
            }
            for name in self.mails
        ]
        answers = {self.root: json.dumps(listed).encode()}
        answers |= {f"{self.root}/{name}/source": raw for name, raw in self.mails.items()}
        body = answers.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def do_DELETE(self):
        self.mails.clear()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args):
        """Say nothing."""


@pytest.mark.parametrize("root", ["/api/email", "/email"])
def test_maildev_of_both_versions_is_read(serve, root):
    api = type("Api", (Api,), {"root": root, "mails": {"1": FRONT + MAIL}})
    adapter = MailDev(place(serve(http.server.HTTPServer(("127.0.0.1", 0), api))))
    assert adapter.probe()
    (one,) = adapter.messages()
    assert (one.sender, one.recipients, one.body) == ("a@x.test", ("b@y.test",), MAIL)
    adapter.clear()
    assert adapter.messages() == []
    adapter.close()


def test_an_api_that_nobody_has_is_unseen():
    adapter = MailDev(place(1))
    with pytest.raises(UnseenError, match="does not answer"):
        adapter.messages()


class ImapServer(socketserver.StreamRequestHandler):
    """As much of IMAP as the adapter speaks: one message."""

    def handle(self):
        self.wfile.write(b"* OK ready\r\n")
        mail = FRONT + MAIL
        for line in self.rfile:
            tag, verb, *rest = line.split()
            said = {
                b"CAPABILITY": b"* CAPABILITY IMAP4REV1\r\n",
                b"EXAMINE": b"* 1 EXISTS\r\n",
                b"SEARCH": b"* SEARCH 7\r\n",
                b"FETCH": b"* 1 FETCH (UID 7 BODY[] {%d}\r\n%b)\r\n" % (len(mail), mail),
                b"LOGOUT": b"* BYE\r\n",
            }.get(rest[0].upper() if verb == b"UID" else verb.upper(), b"")
            self.wfile.write(said + tag + b" OK done\r\n")
            if verb.upper() == b"LOGOUT":
                return


def test_imap_is_read(serve):
    port = serve(socketserver.ThreadingTCPServer(("127.0.0.1", 0), ImapServer))
    adapter = Imap(place(port, user="u", password="p"))
    (one,) = adapter.messages()
    assert (one.sender, one.recipients, one.body) == ("a@x.test", ("b@y.test",), MAIL)
    assert len(adapter.read()) == 1
    adapter.clear()
    assert adapter.messages() == []
    adapter.close()
    with pytest.raises(UnseenError, match="IMAP cannot be read"):
        Imap(place(1)).messages()


def test_a_sink_keeps_what_is_relayed():
    sink = Sink(place(0, host="127.0.0.1"))
    with smtplib.SMTP("127.0.0.1", sink.port) as smtp:
        smtp.sendmail("a@x.test", ["b@y.test"], MAIL)
    (one,) = sink.messages()
    assert (one.sender, one.recipients, one.body) == ("a@x.test", ("b@y.test",), MAIL)
    sink.clear()
    assert sink.messages() == []
    sink.close()


class Files(TcpMachine):
    """A server whose files can be read here."""

    def __init__(self, folder):
        super().__init__("127.0.0.1", 25)
        self.folder = folder

    def files(self, path, known=()):
        return files_below(self.folder, known)


def test_an_mbox_is_read_and_what_was_there_is_forgotten(tmp_path):
    path = tmp_path / "b"
    one = FRONT.replace(b"\r\n", b"\n") + b"Subject: x\n\n>From me\n"
    path.write_bytes(b"From a@x.test now\n" + one + b"\n")
    mbox = Mbox(Place(Files(path), None, {}))
    (found,) = mbox.messages()
    assert found.body == b"Subject: x\r\n\r\nFrom me\r\n"
    mbox.clear()
    path.write_bytes(path.read_bytes() + b"From a@x.test now\n" + one.replace(b"A1", b"A2") + b"\n")
    assert len(mbox.messages()) == 1
    assert len(mbox.read()) == 2


def test_every_kind_has_an_adapter():
    assert {"mailpit", "maildev", "maildir", "mbox", "imap", "command", "sink", "none"} <= set(
        adapters()
    )
