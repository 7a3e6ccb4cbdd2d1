"""Interactions, items and users: sources, contract, quarantine, and the assets that keep them in tables."""
