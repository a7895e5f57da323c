"""The first promise, attacked: 250 means kept, whatever happens to process, disk and power.

Each fault has a number, F01 to F15, and a scenario: a function that does the harm to a real
`prixfixe serve` and returns what was found wrong. The tests want nothing wrong; `test_teeth` plays
the same scenarios on servers that break the promise on purpose and wants that found.
"""
