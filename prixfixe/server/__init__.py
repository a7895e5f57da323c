"""The server process: start and stop order, listeners, signals, reload."""
