"""Certificates: read, checked, reloaded, or made for development."""
