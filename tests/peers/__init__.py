"""aiosmtpd's own tests, and programs that are built on it, with our controllers in their place."""
