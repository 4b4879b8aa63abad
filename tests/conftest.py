"""What every test shares."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from toy import Toy

from explorer.generators import FAMILIES

# Derandomized: a commit passes or fails, it does not flicker. No deadline: the machine may be busy.
settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True, scope="session")
def _toy_family() -> Iterator[None]:
    """The toy is a family like any other, in the tests alone."""
    FAMILIES[Toy.family] = Toy
    yield
    del FAMILIES[Toy.family]
