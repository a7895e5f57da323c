"""A handler that has every hook and changes nothing."""

from aiosmtpd.smtp import MISSING

__all__ = ["EveryHook"]


class EveryHook:
    """Each hook lets the server answer as it would without one."""

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        return responses

    async def handle_HELO(self, server, session, envelope, hostname):
        return MISSING

    async def handle_MAIL(self, server, session, envelope, address, options):
        envelope.mail_from = address
        return MISSING

    async def handle_RCPT(self, server, session, envelope, address, options):
        envelope.rcpt_tos.append(address)
        return MISSING

    async def handle_RSET(self, server, session, envelope):
        return MISSING

    async def handle_NOOP(self, server, session, envelope, argument):
        return MISSING

    async def handle_VRFY(self, server, session, envelope, address):
        return MISSING

    async def handle_QUIT(self, server, session, envelope):
        return MISSING

    async def handle_DATA(self, server, session, envelope):
        return MISSING

    def handle_STARTTLS(self, server, session, envelope):
        return True

    async def handle_PROXY(self, server, session, envelope, proxy_data):
        return True
