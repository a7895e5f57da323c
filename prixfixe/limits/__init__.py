"""What bounds the server: who may connect, how much memory, how much time."""
