"""Load on the container, and an account of every message of it."""
