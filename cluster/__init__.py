"""A real Kubernetes cluster on one machine, built from pinned Go modules and run in namespaces of its own.

Here: everything `make test-cluster` brings up before the first test. Not here: the product, which never imports this.
"""
