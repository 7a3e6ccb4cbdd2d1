"""The parts of guard_reaction.py: a home with the real stack, its visitors, its ticker, one breach after another."""
