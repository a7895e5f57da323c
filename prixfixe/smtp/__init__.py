"""SMTP as a value: bytes in, replies and requests out; no asyncio, no files, no clocks."""
