"""Placement against every possible choice: nothing allowed is better than what was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editions.catalog import EDITIONS
from tenancy.placement import choose_servers
from tenancy.server.errors import CapacityExhausted
from tenancy.server.record import Server, ServerId, ServerKind, ServerPurpose, ServerState

AT = datetime(2026, 3, 10, tzinfo=UTC)


def server(
    name: str,
    *,
    purpose: ServerPurpose = "shared",
    capacity: int = 10,
    used: int = 0,
    site: str = "karlsruhe",
    country: str = "DE",
    state: ServerState = "active",
    kind: ServerKind = "sqlite",
) -> Server:
    return Server(
        server_id=ServerId(f"srv_{name}"),
        name=name,
        kind=kind,
        purpose=purpose,
        site=site,
        country=country,
        capacity=capacity,
        used=used,
        state=state,
        address=name,
        admin_user=None,
        tls_ca=None,
        version=1,
        created_at=AT,
    )


def choose(servers: Sequence[Server], edition: str, lines: int = 1) -> list[str]:
    chosen = choose_servers(servers, EDITIONS[edition], lines=lines, country="DE")
    return [each.name for each in chosen]


def test_shared_instance_goes_where_the_smallest_share_is_taken() -> None:
    servers = [server("a", capacity=10, used=4), server("b", capacity=100, used=30), server("c", used=9)]
    assert choose(servers, "datacenter") == ["b"]


def test_among_equals_the_first_by_name() -> None:
    assert choose([server("b"), server("a")], "datacenter") == ["a"]


@pytest.mark.parametrize("edition", ["dedicated", "high_performance"])
def test_dedicated_instance_gets_a_server_that_nobody_else_has(edition: str) -> None:
    servers = [
        server("a", purpose="dedicated", capacity=1, used=1),
        server("b", purpose="dedicated", capacity=1),
        server("c"),
    ]
    assert choose(servers, edition) == ["b"]


def test_lines_are_spread_over_sites_as_far_as_there_are_any() -> None:
    servers = [
        server(name, purpose="dedicated", capacity=1, site=site)
        for name, site in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "x"))
    ]
    assert choose(servers, "high_availability", 2) == ["a", "c"]
    assert choose(servers, "high_availability", 3) == ["a", "c", "b"]


@pytest.mark.parametrize(
    "unfit",
    [
        server("a", country="FR"),
        server("a", state="draining"),
        server("a", state="retired"),
        server("a", used=10),
        server("a", purpose="dedicated", capacity=1),
    ],
)
def test_what_is_missing_is_said(unfit: Server) -> None:
    with pytest.raises(CapacityExhausted) as refused:
        choose([unfit], "datacenter")
    assert refused.value.code == "capacity_exhausted"
    assert refused.value.detail == {
        "purpose": "shared",
        "kind": "sqlite",
        "country": "DE",
        "needed": 1,
        "free": 0,
    }


def test_high_availability_says_how_many_servers_are_missing() -> None:
    servers = [server(name, purpose="dedicated", capacity=1) for name in "ab"]
    with pytest.raises(CapacityExhausted) as refused:
        choose(servers, "high_availability", 3)
    assert refused.value.detail == {
        "purpose": "dedicated",
        "kind": "sqlite",
        "country": "DE",
        "needed": 3,
        "free": 2,
    }


@pytest.mark.parametrize("country", ["DE", "FR"])
@pytest.mark.parametrize("purpose", ["shared", "dedicated"])
@pytest.mark.parametrize("state", ["active", "draining"])
def test_directories_take_nothing_once_a_database_server_is_registered(
    country: str, purpose: ServerPurpose, state: ServerState
) -> None:
    directory = server("a")
    database = server("b", kind="mariadb", country=country, purpose=purpose, state=state, used=1, capacity=1)
    with pytest.raises(CapacityExhausted) as refused:
        choose([directory, database], "datacenter")
    assert refused.value.detail["kind"] == "mariadb"
    assert choose([directory, replace(database, state="retired", used=0)], "datacenter") == ["a"]


def test_lines_never_mix_directories_and_database_servers() -> None:
    directories = [server(name, purpose="dedicated", capacity=1, site="x") for name in "abc"]
    databases = [
        server(name, kind="mariadb", purpose="dedicated", capacity=1, site="y") for name in ("d", "e")
    ]
    assert choose([*directories, *databases], "high_availability", 2) == ["d", "e"]
    with pytest.raises(CapacityExhausted):
        choose([*directories, *databases], "high_availability", 3)


FLEETS = st.lists(
    st.builds(
        lambda purpose, capacity, used, site, country, state, kind: {
            "purpose": purpose,
            "capacity": 1 if purpose == "dedicated" else capacity,
            "used": min(used, 1 if purpose == "dedicated" else capacity),
            "site": site,
            "country": country,
            "state": state,
            "kind": kind,
        },
        st.sampled_from(["shared", "dedicated", "dedicated"]),
        st.integers(1, 5),
        st.integers(0, 5),
        st.sampled_from(["x", "y", "z"]),
        st.sampled_from(["DE", "DE", "FR"]),
        st.sampled_from(["active", "active", "active", "draining", "retired"]),
        st.sampled_from(["sqlite", "sqlite", "sqlite", "sqlite", "mariadb"]),
    ),
    max_size=9,
).map(lambda fleet: [server(f"s{n}", **each) for n, each in enumerate(fleet)])


@given(
    FLEETS,
    st.sampled_from(
        [("datacenter", 1), ("dedicated", 1), ("high_availability", 2), ("high_availability", 3)]
    ),
)
def test_no_allowed_choice_is_better_than_the_chosen_one(fleet: list[Server], asked: tuple[str, int]) -> None:
    edition, lines = asked
    in_use = [each for each in fleet if each.kind == "mariadb" and each.state != "retired"]
    allowed = [
        combination
        for combination in combinations(fleet, lines)
        if _is_allowed(combination, edition)
        and {each.kind for each in combination} == {"mariadb" if in_use else "sqlite"}
    ]
    try:
        chosen = choose_servers(fleet, EDITIONS[edition], lines=lines, country="DE")
    except CapacityExhausted:
        assert allowed == []
        return
    assert any(set(each) == set(chosen) for each in allowed)
    assert _badness(chosen, edition) == min(_badness(each, edition) for each in allowed)


def _is_allowed(chosen: Sequence[Server], edition: str) -> bool:
    """The requirement, said differently from how it is built."""
    wanted = "shared" if edition == "datacenter" else "dedicated"
    return all(
        each.country == "DE"
        and each.state == "active"
        and each.purpose == wanted
        and each.used < each.capacity
        and not (wanted == "dedicated" and each.used)
        for each in chosen
    )


def _badness(chosen: Sequence[Server], edition: str) -> tuple[float, ...]:
    if edition == "datacenter":
        return (chosen[0].used / chosen[0].capacity,)
    return (-len({each.site for each in chosen}),)
