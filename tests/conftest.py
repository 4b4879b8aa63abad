"""What every test shares."""

from hypothesis import settings

# Derandomized: a commit passes or fails, it does not flicker. No deadline: the machine may be busy.
settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("repeatable")
