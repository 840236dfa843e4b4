"""No test depends on a clock: property tests have no deadline. Nor on luck: they try the same examples each time, and new ones
under HYPOTHESIS_PROFILE=exploring, as `make faults` has it."""

import os

from hypothesis import settings

settings.register_profile("fixed", deadline=None, derandomize=True)
settings.register_profile("exploring", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
