"""Weights as HAProxy keeps them best. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

_SPREADS_WELL: Final = 8
"""The greatest weight, where the shares allow it. HAProxy's ring has 16 places for a unit of weight, of some 50 bytes
each: 1,000 lines of weight 100 took 75 MB, of weight 10 7 MB (tried on 2.6.12)."""


def small_shares(weights: Mapping[int, int]) -> dict[int, int]:
    """The same shares in numbers as small as still spread well.

    Args:
        weights: by number of the line, each above 0.
    """
    unit = math.gcd(*weights.values())
    if not unit:
        return {}
    times = max(1, _SPREADS_WELL * unit // max(weights.values()))
    return {number: weight // unit * times for number, weight in weights.items()}
