"""Images that are broken in one way each, to see that a named check turns red.

`table` says what is broken and which check tells, `still` as files and configuration, `running` as
code; `making` makes the image; `test_teeth` runs the suite's own tests against it.
"""
