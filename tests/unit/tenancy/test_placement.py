from __future__ import annotations

import pytest

from app.core.ids import InstanceId
from editions.catalog import EDITIONS
from tenancy.errors import EditionUnknown, LinesTooFew, LinesTooMany
from tenancy.placement import check_country, check_lines, find_edition, place_instance
from tenancy.server.errors import CountryForbidden


@pytest.mark.parametrize(
    ("edition", "lines", "line_ids", "pool", "boxes"),
    [
        ("datacenter", 1, ["shared-1"], "shared", ["shared-box-1"]),
        ("dedicated", 1, ["acme-1"], "shared", ["shared-box-1"]),
        ("high_performance", 1, ["acme-1"], "acme", ["acme-box-1"]),
        (
            "high_availability",
            3,
            ["acme-1", "acme-2", "acme-3"],
            "acme",
            ["acme-box-1", "acme-box-2", "acme-box-3"],
        ),
    ],
)
def test_each_edition_gets_its_lines_pool_and_boxes(
    edition: str, lines: int, line_ids: list[str], pool: str, boxes: list[str]
) -> None:
    placement = place_instance("acme", EDITIONS[edition], lines=lines, instance_id=InstanceId("ins_1"))
    assert list(placement.lines) == line_ids
    assert placement.pool == pool
    assert [box.name for box in placement.boxes] == boxes
    assert {box.pool for box in placement.boxes} == {pool}
    assert {box.owner for box in placement.boxes} == {None if pool == "shared" else "ins_1"}


def test_unknown_edition_names_the_known_ones() -> None:
    with pytest.raises(EditionUnknown) as refused:
        find_edition("platinum")
    assert refused.value.detail["known"] == list(EDITIONS)


def test_high_availability_with_one_line_has_too_few() -> None:
    with pytest.raises(LinesTooFew) as refused:
        check_lines(EDITIONS["high_availability"], 1)
    assert refused.value.detail["minimum"] == 2


@pytest.mark.parametrize(
    ("edition", "lines"), [("datacenter", 2), ("dedicated", 2), ("high_availability", 33)]
)
def test_more_lines_than_the_edition_has_are_refused(edition: str, lines: int) -> None:
    with pytest.raises(LinesTooMany):
        check_lines(EDITIONS[edition], lines)


@pytest.mark.parametrize("country", ["", "FR", "de", "Deutschland"])
def test_country_without_a_server_is_refused(country: str) -> None:
    with pytest.raises(CountryForbidden):
        check_country(country, frozenset({"DE"}))
