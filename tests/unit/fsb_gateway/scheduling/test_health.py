from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fsb_gateway.scheduling.health import BoxHealth


def put_out(health: BoxHealth, *, at: float) -> None:
    assert [health.fail("box_timed_out", at) for _ in range(3)] == [False, False, True]


def test_third_failure_in_a_row_puts_a_box_out_for_five_seconds() -> None:
    health = BoxHealth()
    put_out(health, at=100.0)
    assert (health.is_in, health.reason, health.retry_at) == (False, "box_timed_out", 105.0)
    assert not health.may_try(104.9)
    assert health.may_try(105.0)


def test_success_in_between_starts_the_count_anew() -> None:
    health = BoxHealth()
    for at in (0.0, 100.0, 200.0, 300.0):
        assert not health.fail("box_failed", at)
        assert not health.fail("box_failed", at + 1)
        health.succeed(at + 2)
    assert health.is_in
    assert health.consecutive == 0


def test_fifth_failure_within_a_minute_puts_a_box_out_in_spite_of_successes() -> None:
    health = BoxHealth()
    for at in (0.0, 15.0, 30.0, 45.0):
        assert not health.fail("box_failed", at)
        health.succeed(at + 1)
    assert health.fail("box_failed", 60.0)
    assert health.retry_at == 65.0


def test_five_failures_in_more_than_a_minute_do_not() -> None:
    health = BoxHealth()
    for at in range(0, 400, 16):
        assert not health.fail("box_failed", at)
        health.succeed(at + 1.0)
    assert health.is_in


def test_one_job_tries_and_each_failure_doubles_the_pause_up_to_ten_minutes() -> None:
    health = BoxHealth()
    put_out(health, at=0.0)
    pauses: list[float] = []
    for _ in range(9):
        assert health.retry_at is not None
        at = health.retry_at
        health.probe()
        assert health.is_probing
        assert not health.may_try(at + 1000), "only one at a time"
        assert not health.fail("box_power_lost", at)
        assert health.reason == "box_power_lost"
        pauses.append(health.retry_at - at)
    assert pauses == [10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_success_of_the_probing_job_brings_the_box_back() -> None:
    health = BoxHealth()
    put_out(health, at=0.0)
    health.probe()
    health.succeed(6.0)
    assert (health.is_in, health.retry_at, health.consecutive) == (True, None, 0)
    assert not health.fail("box_failed", 7.0), "one failure does not put it out again at once"
    assert health.is_in


def test_box_that_is_out_again_within_a_minute_waits_longer_than_the_first_time() -> None:
    health = BoxHealth()
    put_out(health, at=0.0)
    health.probe()
    health.succeed(6.0)
    put_out(health, at=10.0)
    assert health.retry_at == 20.0
    health.probe()
    health.succeed(21.0)
    put_out(health, at=81.0)
    assert health.retry_at == 86.0, "a minute of good work is forgiven"


def test_jobs_given_before_it_was_put_out_change_nothing() -> None:
    health = BoxHealth()
    put_out(health, at=0.0)
    assert not health.fail("box_failed", 1.0)
    health.succeed(2.0)
    assert (health.is_in, health.retry_at, health.reason) == (False, 5.0, "box_timed_out")


def test_probe_that_was_abandoned_is_followed_by_another_at_once() -> None:
    health = BoxHealth()
    health.probe()
    health.abandon(1.0)
    assert health.is_in
    put_out(health, at=10.0)
    health.probe()
    health.abandon(16.0)
    assert health.may_try(16.0)
    assert not health.is_probing


def test_mended_box_is_in_with_nothing_held_against_it() -> None:
    health = BoxHealth()
    put_out(health, at=0.0)
    health.reset()
    assert (health.is_in, health.retry_at, health.consecutive) == (True, None, 0)
    put_out(health, at=1.0)
    assert health.retry_at == 6.0


@given(
    st.lists(
        st.tuples(st.sampled_from(("fail", "succeed", "probe", "abandon")), st.floats(0, 50)), max_size=80
    )
)
def test_box_is_in_or_waits_or_probes_and_never_longer_than_ten_minutes(
    script: list[tuple[str, float]],
) -> None:
    health, now = BoxHealth(), 0.0
    for action, passed in script:
        now += passed
        if action == "fail":
            health.fail("box_failed", now)
        elif action == "succeed":
            health.succeed(now)
        elif action == "abandon":
            health.abandon(now)
        elif health.may_try(now):
            health.probe()
        states = (health.is_in, health.retry_at is not None, health.is_probing)
        assert sum(states) == 1
        assert health.retry_at is None or health.retry_at <= now + 600
