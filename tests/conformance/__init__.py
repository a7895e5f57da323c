"""The conformance suite: cases as dialogue files, one runner, many targets."""
