"""Drills: a bad model is let into a running system on purpose, and what found it, and how fast, is written down."""
