"""One SMTP client from accept to close; asyncio is here, the protocol is in `smtp`."""
