"""The hypothesis profile and the toy families, for all tests."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from toy import Toy
from toy_keys import KeysToy
from toy_poor import PoorToy

from explorer.generators import FAMILIES
from explorer.generators.base import Generator

# Derandomized, so that a commit always passes or always fails. No deadline, since the machine may be busy.
settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)
# A long search for what nobody has thought of yet: `pytest tests/ui/test_any_request.py --hypothesis-profile=thorough`.
settings.register_profile("thorough", deadline=None, max_examples=1000, suppress_health_check=list(HealthCheck))
settings.load_profile("repeatable")


@pytest.fixture(autouse=True, scope="session")
def _toy_families() -> Iterator[None]:
    """Registers the toy families, for the tests only."""
    toys: tuple[type[Generator], ...] = (Toy, PoorToy, KeysToy)
    FAMILIES.update({toy.family: toy for toy in toys})
    yield
    for toy in toys:
        del FAMILIES[toy.family]
