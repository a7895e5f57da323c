"""Mailpit's read API and the paths beyond it."""
