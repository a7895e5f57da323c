"""HTTP in the server's own event loop: health, metrics, and Mailpit's API."""
