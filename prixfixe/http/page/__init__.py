"""The inbox page: its files, and mail as frames show it."""
