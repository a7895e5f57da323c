"""What a mail says: its parts, addresses, words and summary, computed from its bytes."""
