"""What the tests of whole clusters share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service.network import require_network
from tests.service.pair import STICKY, Pair, running_pair


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Two load balancers with a shared address; a test leaves both of them able to serve."""
    require_network()
    with running_pair(rules=STICKY) as made:
        yield made
