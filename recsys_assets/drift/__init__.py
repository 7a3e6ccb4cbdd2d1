"""Drift room: how far the newest days lie from those before, and when to ask for a new model. Not here: gates."""
