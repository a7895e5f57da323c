"""Where messages are stored, and the contract that every store keeps."""
