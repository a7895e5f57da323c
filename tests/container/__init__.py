"""The image and its containers, checked from outside: every promise, under the hardened profile."""
