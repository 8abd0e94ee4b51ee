"""The pair: two load balancers and the addresses that one of them has at a time."""

from lb.pair.check import check_text
from lb.pair.error import PairError, PairNodeUnknown, PairSettingsUnfit
from lb.pair.keepalived import keepalived_text
from lb.pair.place import PairPlace, step_aside, step_back
from lb.pair.settings import Interface, PairNode, PairSettings, PairTimes
from lb.pair.unit import unit_text

__all__ = [
    "Interface",
    "PairError",
    "PairNode",
    "PairNodeUnknown",
    "PairPlace",
    "PairSettings",
    "PairSettingsUnfit",
    "PairTimes",
    "check_text",
    "keepalived_text",
    "step_aside",
    "step_back",
    "unit_text",
]
