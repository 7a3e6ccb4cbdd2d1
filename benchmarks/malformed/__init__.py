"""Bad input of every kind, each with the error it must get, and good input beside it that must get through.

Here: one file a kind, which knows its rules. Not here: the run and its result file (benchmarks/malformed_input.py).
"""
