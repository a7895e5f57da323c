"""What a message says: MIME, addresses, summaries, search queries."""
