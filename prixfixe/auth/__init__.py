"""Logins: the users file, password hashes, and their check off the event loop."""
