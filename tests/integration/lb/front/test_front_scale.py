"""A front with many instances. The benchmark `front_scale` measures; here stands what must hold on any machine."""

from __future__ import annotations

from tests.service.front_crowd import measure
from tests.service.front_site import FrontSite

_INSTANCES = 100
"""A fifth of those that `front_scale` has the same marks for: other tests run beside this one."""


def test_many_instances_of_two_lines_change_soon_and_need_little(site: FrontSite) -> None:
    cost = measure(site, _INSTANCES)
    assert max(cost.weight_seconds, cost.rule_seconds, cost.line_seconds) < 1
    assert cost.check_seconds < 2
    assert cost.rss_mb < 100
    assert cost.servers >= 8 * _INSTANCES
