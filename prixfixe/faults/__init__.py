"""Faults that tests put in the way of sessions: rules, addresses that are rules, and their hits."""
