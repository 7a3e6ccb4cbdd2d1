"""Thousands of simulated releases through the product's own state machine, and through other rules beside it.

Here: `python -m benchmarks.release_simulation`. Not here: any statistic of the product's; it is imported.
"""
