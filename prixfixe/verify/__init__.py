"""Verify any SMTP server: cases, the contract it is held to, targets, read-back, reports.

It speaks SMTP, and knows nothing of this server but what a profile says. It is not in the image.
"""
