"""Servers of others to verify, the scoreboard, and the matrix of broken images."""
