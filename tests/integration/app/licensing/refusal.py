"""How a refusal is proven: its code, and that nothing changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.core.errors import DomainError
from tests.integration.app.licensing.world import (
    World,
    nothing_changes,
)


def refused(
    world: World, act: Callable[[], object], error: type[DomainError], *, but: tuple[str, ...] = ()
) -> DomainError:
    with nothing_changes(world.db, but=but), pytest.raises(error) as caught:
        act()
    assert type(caught.value) is error
    return caught.value
