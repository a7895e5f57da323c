"""What the server tells of itself: events, log, metrics, readiness."""
