"""The parts of mutation_testing.py: what is mutated and judged, how, and what a survivor means."""
