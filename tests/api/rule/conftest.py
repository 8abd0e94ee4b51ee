"""An instance with two lines, without rules at the end of each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.rule.rule_scene import Ask, put
from tests.api.site import Instance, Site


@pytest.fixture(scope="session")
def pair(site: Site) -> Instance:
    """A High Availability instance: two lines."""
    return site.add_instance("high_availability", "ruled")


@pytest.fixture
def ruled(pair: Instance) -> Iterator[Instance]:
    """The same, without rules when the test is over."""
    yield pair
    put(pair.admin, [])


@pytest.fixture(params=["admin", "portal"])
def ask(request: pytest.FixtureRequest, ruled: Instance) -> Ask:
    """Either way of looking after rules."""
    chosen: Ask = getattr(ruled, request.param)
    return chosen
