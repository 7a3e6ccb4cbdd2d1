"""Drift room: how far the newest days lie from the days before them, and when to ask for a new model. Not here: gates."""
