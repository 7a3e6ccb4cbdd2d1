"""The commands of README and docs, run as a reader runs them. Not here: commands that only developers give."""
