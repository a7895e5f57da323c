"""A policy that decides before a message is accepted: SMTP_HANDLER=policy:Policy.

Mail to a closed mailbox is refused. A sender that nobody knows is asked to come again. Most programs
that send unwanted mail never do.
"""

import time

CLOSED = {"closed@example.com"}
WAIT_SECONDS = 60.0
MAX_KNOWN = 10_000


class Policy:
    """Refuse mailboxes that are closed, and put off strangers once (RFC 6647)."""

    def __init__(self, wait_seconds=WAIT_SECONDS):
        self.wait_seconds = wait_seconds
        self.first_seen = {}

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.lower() in CLOSED:
            return "550 5.7.1 This mailbox takes no mail"
        if not self.is_known((session.peer[0], envelope.mail_from, address)):
            return "451 4.7.1 Please try again in a minute"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    def is_known(self, who):
        """Whether this sender came long enough ago for the first time."""
        now = time.monotonic()
        while len(self.first_seen) > MAX_KNOWN:
            del self.first_seen[next(iter(self.first_seen))]
        return now - self.first_seen.setdefault(who, now) >= self.wait_seconds
