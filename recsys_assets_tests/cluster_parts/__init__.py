"""Tests of the test cluster's own parts that need no binary and no root.

Here: pins, images, addresses, certificates, prerequisites. Not here: anything that runs (see `cluster`).
"""
