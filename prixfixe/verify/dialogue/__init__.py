"""The table of SMTP cases: dialogues as files, what plays them, and the servers they are played on.

It knows SMTP and nothing of PrixFixe; `tests/conformance` plays the same table.
"""
