"""The Maildir store: one file a message, as other mail programs read it."""
