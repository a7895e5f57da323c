"""Frameworks that send mail, by the examples that docs/testing.md has for them."""
