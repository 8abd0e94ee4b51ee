"""What tests with a real HAProxy share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.lb.stats_site import StatsSite, running_site


@pytest.fixture
def site() -> Iterator[StatsSite]:
    """A front for tests of the wrapper, new for each of them."""
    with running_site() as running:
        yield running
