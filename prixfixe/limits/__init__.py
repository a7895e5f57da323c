"""The limits of a server: connections, memory and time."""
