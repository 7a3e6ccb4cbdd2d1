"""Evaluation room: ranking metrics on a holdout in time, comparison by user, and the verdicts. Not here: fitting."""
