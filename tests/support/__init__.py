"""What the tests share: drivers, oracles, cases."""
