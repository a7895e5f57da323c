"""Certificates: loaded, checked, reloaded, or made for development."""
