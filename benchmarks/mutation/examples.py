"""How hypothesis looks for examples while mutants are judged: the same few each time, no deadline, none made smaller.

Here: a pytest plugin that registers the profile `mutants`. Not here: anything the tests of every day use.
"""

from hypothesis import Phase, settings

FEW = 20
PHASES = (Phase.explicit, Phase.generate)
settings.register_profile("mutants", deadline=None, derandomize=True, database=None, max_examples=FEW, phases=PHASES)
