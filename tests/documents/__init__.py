"""The documents held to the code: what is generated, and running the commands they show."""
