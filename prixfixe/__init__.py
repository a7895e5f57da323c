"""PrixFixe: a compact SMTP server whose 250 means kept."""

__all__ = ["__version__"]

__version__ = "1.0.0.dev0"
