"""Telling people of a release: the ledger's rows, sent to webhooks by a small process of its own."""
