"""A small server to verify, good or broken: `python verify_peer.py PORT FOLDER [FAULT]`.

It is aiosmtpd with a handler that writes a Maildir into FOLDER. FAULT is what it does wrong:
`forgets` keeps mail in memory and writes it at its end, `cuts` loses the last byte, `twice` stores
two of each, `deaf` ignores SIGTERM, `refuses` takes no mail, `mute` never greets.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from aiosmtpd.smtp import SMTP

HOST = "127.0.0.1"


class Maildir:
    """The handler."""

    def __init__(self, folder, fault):
        self.folder, self.fault = Path(folder), fault
        self.waiting = []
        self.count = 0
        for name in ("tmp", "new", "cur"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        if self.fault == "refuses":
            return "451 not now"
        content = envelope.original_content.replace(b"\r\n", b"\n")
        if self.fault == "cuts":
            content = content[:-1]
        self.count += 1
        for recipient in envelope.rcpt_tos * (2 if self.fault == "twice" else 1):
            front = (
                f"Return-Path: <{envelope.mail_from or ''}>\nDelivered-To: {recipient}\n"
                f"Received: from c by peer.test id {time.time_ns()}x{self.count};\n\tnow\n"
            )
            self.waiting.append(front.encode("utf-8", "surrogateescape") + content)
        if self.fault != "forgets":
            self.write()
        return "250 OK"

    def write(self):
        while self.waiting:
            name = f"{time.time_ns()}.{os.getpid()}.peer"
            path = self.folder / "tmp" / name
            with path.open("wb") as file:
                file.write(self.waiting.pop(0))
                file.flush()
                os.fsync(file.fileno())
            path.rename(self.folder / "new" / name)


async def serve(port, folder, fault):
    loop = asyncio.get_running_loop()
    handler = Maildir(folder, fault)
    if fault == "mute":
        server = await loop.create_server(asyncio.Protocol, HOST, port)
    else:
        server = await loop.create_server(lambda: SMTP(handler, hostname="peer.test"), HOST, port)
    print("peer ready", flush=True)  # noqa: T201
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, (lambda: None) if fault == "deaf" else stop.set)
    await stop.wait()
    handler.write()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], "".join(sys.argv[3:])))
