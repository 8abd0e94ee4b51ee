"""The catalogue says what the published text says."""

from __future__ import annotations

import pytest

from app.core.errors import InputInvalid
from editions.catalog import EDITIONS, edition, editions_with_web_services


@pytest.mark.parametrize(
    ("key", "activations", "calls", "min_lines", "server", "box", "availability"),
    [
        ("datacenter", 1_500, None, 1, "shared", "shared", 995),
        ("dedicated", 3_000, 250_000, 1, "dedicated", "shared", 995),
        ("high_performance", 25_000, 250_000, 1, "dedicated", "own", 995),
        ("high_availability", 25_000, 250_000, 2, "dedicated", "own_per_line", 999),
    ],
)
def test_edition_has_the_published_amounts(
    key: str, activations: int, calls: int | None, min_lines: int, server: str, box: str, availability: int
) -> None:
    found = edition(key)
    assert (found.activations, found.calls, found.min_lines) == (activations, calls, min_lines)
    assert (found.server, found.box, found.availability_per_mille) == (server, box, availability)
    assert found.per_line == (key == "high_availability") == found.maintenance_excluded
    assert found.name_de
    assert found.name_en


def test_editions_that_share_boxes_share_them_as_their_monthly_amounts() -> None:
    sharing = [each for each in EDITIONS.values() if each.box == "shared"]
    assert [(each.key, each.box_share) for each in sharing] == [("datacenter", 1), ("dedicated", 2)]
    assert len({each.activations / each.box_share for each in sharing}) == 1


def test_nobody_who_pays_more_gets_a_smaller_share_of_a_box() -> None:
    shares = [each.box_share for each in EDITIONS.values()]
    assert shares == sorted(shares), "from the smallest edition to the largest, own boxes or not"


def test_all_but_datacenter_have_web_services() -> None:
    assert editions_with_web_services() == ("dedicated", "high_performance", "high_availability")


def test_unknown_edition_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(InputInvalid) as refused:
        edition("platinum")
    assert refused.value.detail == {"field": "edition", "known": list(EDITIONS)}
