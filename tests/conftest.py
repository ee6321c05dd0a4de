"""Settings of all tests: Hypothesis tries the same examples each time, so that a green run stays green."""

from hypothesis import settings

settings.register_profile("course", derandomize=True, deadline=None)
settings.load_profile("course")
