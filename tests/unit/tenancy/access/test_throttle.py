from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.access.failure.throttle import (
    LONGEST_PAUSE_SECONDS,
    MOST_ENTRIES,
    WINDOW_SECONDS,
    FailureGate,
    Suspect,
    network_of,
)

ERP = Suspect("acme.erp", "192.0.2.7/32")
ELSEWHERE = Suspect("acme.erp", "198.51.100.7/32")
COLLEAGUE = Suspect("acme.crm", "192.0.2.7/32")


def test_pause_begins_with_the_fifth_failure_and_doubles_up_to_a_minute() -> None:
    gate, now, pauses = FailureGate(), 0.0, []
    for _ in range(13):
        gate.note_failure(ERP, now)
        pauses.append(gate.pause(ERP, now))
        now += pauses[-1]
    assert pauses == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_nobody_else_is_slowed_down() -> None:
    gate = FailureGate()
    for _ in range(20):
        gate.note_failure(ERP, 0.0)
    assert gate.pause(ERP, 0.0) == LONGEST_PAUSE_SECONDS
    assert gate.pause(ELSEWHERE, 0.0) == gate.pause(COLLEAGUE, 0.0) == 0


def test_success_forgets_everything() -> None:
    gate = FailureGate()
    for _ in range(9):
        gate.note_failure(ERP, 0.0)
    gate.note_success(ERP)
    assert (len(gate), gate.pause(ERP, 0.0)) == (0, 0)
    gate.note_failure(ERP, 0.0)
    assert gate.pause(ERP, 0.0) == 0


def test_ten_quiet_minutes_forget_as_well() -> None:
    gate = FailureGate()
    for _ in range(9):
        gate.note_failure(ERP, 0.0)
    gate.note_failure(ERP, WINDOW_SECONDS)
    assert gate.pause(ERP, WINDOW_SECONDS) == 0
    gate.note_failure(COLLEAGUE, 2 * WINDOW_SECONDS)
    gate.forget_old(2 * WINDOW_SECONDS)
    assert len(gate) == 1


def test_flood_from_everywhere_takes_bounded_memory() -> None:
    gate = FailureGate()
    for n in range(3 * MOST_ENTRIES):
        gate.note_failure(Suspect("-", f"{n}/32"), float(n) / 1000)
    assert len(gate) == MOST_ENTRIES


@given(st.lists(st.tuples(st.sampled_from([ERP, COLLEAGUE]), st.booleans(), st.floats(0, 900)), max_size=40))
def test_gate_agrees_with_counting_by_hand(events: list[tuple[Suspect, bool, float]]) -> None:
    """The oracle: failures since the last success or quiet ten minutes, one list per suspect."""
    gate, now = FailureGate(), 0.0
    failures: dict[Suspect, list[float]] = {ERP: [], COLLEAGUE: []}
    for suspect, succeeds, later in events:
        now += later
        if succeeds:
            gate.note_success(suspect)
            failures[suspect] = []
        else:
            if failures[suspect] and now - failures[suspect][-1] >= WINDOW_SECONDS:
                failures[suspect] = []
            gate.note_failure(suspect, now)
            failures[suspect].append(now)
        for each, times in failures.items():
            pause = min(60.0, 2.0 ** (len(times) - 5)) if len(times) >= 5 else 0.0
            closed_until = times[-1] + pause if times else now
            assert gate.pause(each, now) == pytest.approx(max(0.0, closed_until - now))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
    ],
)
def test_callers_are_taken_together_by_their_network(address: str, network: str) -> None:
    assert network_of(ip_address(address)) == network
