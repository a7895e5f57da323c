"""The kit for authors of tests and of stores; it is in the wheel and not in the image."""
