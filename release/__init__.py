"""What releases and the workflows ask for; each module is a command, run by a nox session."""
