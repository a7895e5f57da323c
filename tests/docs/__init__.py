"""The documents walked by a newcomer: every command they show is run, in their order."""
