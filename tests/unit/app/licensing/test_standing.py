from __future__ import annotations

from datetime import timedelta

import pytest

from app.licensing.transfer.standing import Standing, not_known, standing_of
from fsb_gateway import JobPending


@pytest.mark.parametrize(
    ("expected", "pause"),
    [(0, 1), (0.4, 1), (1, 1), (7.3, 7.3), (60, 60), (61, 60), (86_400, 60)],
)
def test_caller_comes_back_when_the_result_is_expected_within_bounds(expected: float, pause: float) -> None:
    standing = Standing(state="waiting", expected_wait=timedelta(seconds=expected))
    assert standing.ask_again_after == timedelta(seconds=pause)


def test_caller_comes_back_soon_when_nothing_is_known() -> None:
    standing = not_known("fsb_unavailable")
    assert standing == Standing(state="unknown", reason="fsb_unavailable")
    assert (standing.position, standing.expected_wait, standing.others_share) == (None, None, None)
    assert standing.ask_again_after == timedelta(seconds=2)


def test_standing_is_what_the_gateway_says() -> None:
    told = JobPending(
        job_id="trf_1",
        state="unknown",
        position=4,
        expected_wait=timedelta(seconds=3),
        expected_wait_p95=timedelta(seconds=5),
        others_share=0.5,
        reason="box_disconnected",
        waited=timedelta(seconds=9),
        caused_by_others=timedelta(seconds=6),
    )
    assert standing_of(told) == Standing(
        state="unknown",
        position=4,
        expected_wait=timedelta(seconds=3),
        expected_wait_p95=timedelta(seconds=5),
        others_share=0.5,
        reason="box_disconnected",
        waited=timedelta(seconds=9),
        caused_by_others=timedelta(seconds=6),
    )
