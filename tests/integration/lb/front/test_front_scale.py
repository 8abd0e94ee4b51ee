"""A front with many instances. The benchmark `front_scale` measures; here stands what must hold on any machine."""

from __future__ import annotations

from tests.service.front_crowd import measure
from tests.service.front_site import FrontSite

_GENEROUS = 5
"""Other tests run beside this one; `front_scale` has the marks themselves: 1 s, 2 s."""


def test_five_hundred_instances_of_two_lines_change_soon_and_need_little(site: FrontSite) -> None:
    cost = measure(site, 500)
    assert max(cost.weight_seconds, cost.rule_seconds, cost.line_seconds) < _GENEROUS * 1.0
    assert cost.check_seconds < _GENEROUS * 2.0
    assert cost.rss_mb < 200
    assert cost.servers >= 4000
