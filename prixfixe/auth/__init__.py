"""Logins: the users file, password hashes, SCRAM, and the check off the loop."""
