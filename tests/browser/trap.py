"""A server that nothing should ever reach: it counts who does, and remembers what was asked."""

import socketserver
import threading


class Trap(socketserver.ThreadingTCPServer):
    """Listens on a free port of 127.0.0.1, answers a page, and keeps the first line of each request."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = []
        self.page = b""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.server.asked.append("connected")
        line = self.rfile.readline(4096).decode("latin-1").strip()
        self.server.asked.append(line)
        body = self.server.page if line.startswith("GET /control") else b""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nAccess-Control-Allow-Origin: *\r\n"
        self.wfile.write(
            head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
