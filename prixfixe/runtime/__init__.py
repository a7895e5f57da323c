"""Threads and file watching, without any knowledge of mail."""
