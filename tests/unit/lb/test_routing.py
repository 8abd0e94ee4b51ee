from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.ids import LineId
from lb.routing import Line, NoLineReady, Route, RouteUnknown, RoutingTable, choose_line

KEYS = [f"130-{n:010d}" for n in range(4000)]


def table(*lines: Line) -> RoutingTable:
    return RoutingTable.of(Route(instance="acme", lines=lines))


def line(name: str, *, weight: int = 1, ready: bool = True) -> Line:
    return Line(line_id=LineId(name), weight=weight, ready=ready)


def choices(routes: RoutingTable) -> dict[str, LineId]:
    return {key: choose_line(routes, "acme", request_key=key) for key in KEYS}


def test_unknown_instance_has_no_route() -> None:
    with pytest.raises(RouteUnknown) as refused:
        choose_line(table(line("acme-1")), "other", request_key="k")
    assert refused.value.code == "route_unknown"


@pytest.mark.parametrize("lines", [(), (line("acme-1", ready=False),), (line("acme-1", weight=0),)])
def test_instance_without_a_line_that_takes_requests_is_refused(lines: tuple[Line, ...]) -> None:
    with pytest.raises(NoLineReady) as refused:
        choose_line(table(*lines), "acme", request_key="k")
    assert refused.value.code == "no_line_ready"


def test_lines_of_equal_weight_share_equally() -> None:
    shares = Counter(choices(table(line("acme-1"), line("acme-2"), line("acme-3"))).values())
    assert all(abs(share / len(KEYS) - 1 / 3) < 0.03 for share in shares.values())


def test_line_of_threefold_weight_gets_three_quarters() -> None:
    shares = Counter(choices(table(line("acme-1", weight=3), line("acme-2"))).values())
    assert abs(shares[LineId("acme-1")] / len(KEYS) - 0.75) < 0.03


def test_lost_line_moves_only_its_own_keys() -> None:
    lines = [line(f"acme-{n}", weight=n) for n in range(1, 5)]
    before = choices(table(*lines))
    after = choices(table(*lines[:2], line("acme-3", weight=3, ready=False), lines[3]))
    moved = {key for key in KEYS if before[key] != after[key]}
    assert moved == {key for key in KEYS if before[key] == "acme-3"}


def test_raised_weight_only_draws_keys_towards_that_line() -> None:
    before = choices(table(line("acme-1"), line("acme-2"), line("acme-3")))
    after = choices(table(line("acme-1"), line("acme-2", weight=2), line("acme-3")))
    assert {after[key] for key in KEYS if before[key] != after[key]} == {"acme-2"}


@given(
    key=st.text(max_size=200),
    lines=st.lists(
        st.tuples(st.integers(0, 5), st.booleans()),
        min_size=1,
        max_size=6,
    ),
)
def test_chosen_line_takes_requests_and_the_order_of_lines_means_nothing(
    key: str, lines: list[tuple[int, bool]]
) -> None:
    made = [line(f"acme-{n}", weight=weight, ready=ready) for n, (weight, ready) in enumerate(lines)]
    open_lines = {each.line_id for each in made if each.takes_requests}
    if not open_lines:
        return
    chosen = choose_line(table(*made), "acme", request_key=key)
    assert chosen in open_lines
    assert choose_line(table(*reversed(made)), "acme", request_key=key) == chosen


def test_two_routes_of_one_name_are_a_defect() -> None:
    route = Route(instance="acme", lines=())
    with pytest.raises(ValueError, match="same instance name"):
        RoutingTable.of(route, route)


def test_negative_weight_is_a_defect() -> None:
    with pytest.raises(ValueError, match="zero or more"):
        line("acme-1", weight=-1)
