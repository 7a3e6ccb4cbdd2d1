"""Tests of the Kubernetes platform's pure parts, on literal documents.

Here: what needs no cluster. Not here: what a real API server and a real istiod say (`recsys_assets_tests/cluster`).
"""
