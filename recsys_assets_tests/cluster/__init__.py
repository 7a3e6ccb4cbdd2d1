"""Tests against real parts of Kubernetes, which `make test-cluster` builds and runs.

Here: whatever needs the cluster's binaries. Not here: tests that run everywhere.
"""
