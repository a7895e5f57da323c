"""One SMTP client from accept to close: asyncio is used here, the protocol is in `smtp`."""
