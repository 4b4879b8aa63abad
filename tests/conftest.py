"""What every test shares."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from toy import Toy
from toy_poor import PoorToy

from explorer.generators import FAMILIES
from explorer.generators.base import Generator

# Derandomized: a commit passes or fails, it does not flicker. No deadline: the machine may be busy.
settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True, scope="session")
def _toy_families() -> Iterator[None]:
    """The toys are families like any other, in the tests alone."""
    toys: tuple[type[Generator], ...] = (Toy, PoorToy)
    FAMILIES.update({toy.family: toy for toy in toys})
    yield
    for toy in toys:
        del FAMILIES[toy.family]
