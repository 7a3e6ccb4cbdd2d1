"""Thin Dagster resources over the libraries that do the work. Not here: wiring, which is in definitions.py."""
