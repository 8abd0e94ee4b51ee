"""Which pairs a round tries, and when a round holds."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from app.operations.probe.isolation import Check, CheckName, Outcome, ProbeResult, choose_pairs

AT = datetime(2026, 11, 21, tzinfo=UTC)


@given(count=st.integers(0, 12), most=st.integers(1, 20))
def test_over_the_rounds_everyone_tries_everyone_and_nobody_himself(count: int, most: int) -> None:
    names = [f"i{number:02}" for number in range(count)]
    everyone = {(own, other) for own in names for other in names if own != other}
    rounds = range(-(-len(everyone) // most))
    tried = [pair for number in rounds for pair in choose_pairs(names, round_number=number, most=most)]
    assert set(tried) == everyone


@given(count=st.integers(2, 40), number=st.integers(0, 10_000), most=st.integers(1, 50))
def test_a_round_tries_no_more_than_it_may_and_no_pair_twice(count: int, number: int, most: int) -> None:
    names = [f"i{index:02}" for index in range(count)]
    chosen = choose_pairs(names, round_number=number, most=most)
    assert len(chosen) == len(set(chosen)) == min(most, count * (count - 1))


def test_one_instance_alone_has_nobody_to_try() -> None:
    assert choose_pairs(["alone"], round_number=3, most=20) == []


def _result(*outcomes: Outcome) -> ProbeResult:
    checks = tuple(
        Check(check="foreign_ids", instance="a", other="b", outcome=outcome) for outcome in outcomes
    )
    return ProbeResult(probe="isolation", started_at=AT, finished_at=AT, checks=checks)


def test_a_round_with_one_broken_check_does_not_hold() -> None:
    assert _result("held", "held").held
    assert not _result("held", "broken", "held").held


def test_a_round_that_proved_nothing_does_not_hold() -> None:
    assert not _result("unknown", "not_applicable").held
    assert _result("unknown", "held").held


def test_a_round_in_which_one_kind_of_check_failed_for_everybody_does_not_hold() -> None:
    def checks(check: CheckName, *outcomes: Outcome) -> tuple[Check, ...]:
        return tuple(Check(check=check, instance="a", other="b", outcome=each) for each in outcomes)

    def held(*found: Check) -> bool:
        return ProbeResult(probe="isolation", started_at=AT, finished_at=AT, checks=found).held

    good = checks("foreign_ids", "held", "held")
    assert not held(*good, *checks("own_file", "unknown", "unknown"))
    assert not held(*good, *checks("own_file", "unknown", "not_applicable"))
    assert held(*good, *checks("own_file", "unknown", "held"))
    assert held(*good, *checks("own_file", "not_applicable", "not_applicable"))


def test_a_round_without_a_pair_holds() -> None:
    assert _result().held
