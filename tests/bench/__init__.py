"""How fast, against whom: `nox -s bench` runs servers side by side and writes docs/performance.md.

`rivals` start servers, `generator` sends, `runner` alternates and keeps every sample, `summary`
makes medians and ratios of them, `document` and `plots` tell. The files `test_*.py` are
micro-benchmarks of single functions. Nothing here asserts a time.
"""
