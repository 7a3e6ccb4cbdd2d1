"""The two-stage recommender: candidates, ranking features and the ranker, shared by training, evaluation and serving.

Here: pure arrays and functions. Not here: Dagster, a clock, the environment, or any store.
"""
