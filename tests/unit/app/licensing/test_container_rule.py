from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.licensing.container.container_rule import (
    ContainerState,
    Fits,
    Judgement,
    Refused,
    Report,
    Unexpected,
    UnexpectedReason,
    judge,
    unexpected_state,
)
from tests.fake.clock import START
from tests.unit.app.licensing.factory import container

OLDER, SAME, NEWER = (timedelta(microseconds=step) for step in (-1, 0, 1))


def report(fuc: int = 3, when: timedelta = NEWER, key: str = "key-1") -> Report:
    return Report(key_thumbprint=key, fuc=fuc, made_at=START + when)


def named(judgement: Judgement) -> str:
    """The branch that was taken."""
    if isinstance(judgement, Refused):
        return judgement.error.code
    if isinstance(judgement, Unexpected):
        return f"unexpected: {judgement.reason}"
    return "fits, new proof" if judgement.newly_proven else "fits"


# The container has proven 3 and was issued 5.
@pytest.mark.parametrize(
    ("state", "shown", "expected"),
    [
        ({}, report(3), "fits"),
        ({}, report(4), "fits, new proof"),
        ({}, report(5), "fits, new proof"),
        ({}, report(6), "unexpected: fuc_too_new"),
        ({}, report(2), "unexpected: fuc_too_old"),
        ({}, report(0), "unexpected: fuc_too_old"),
        # Not newer than the newest seen: a stale file, whatever its counter, but never a counter that was not issued.
        ({}, report(3, SAME), "context_replayed"),
        ({}, report(2, SAME), "context_replayed"),
        ({}, report(5, SAME), "context_replayed"),
        ({}, report(3, OLDER), "context_outdated"),
        ({}, report(0, OLDER), "context_outdated"),
        ({}, report(5, OLDER), "context_outdated"),
        ({}, report(6, OLDER), "unexpected: fuc_too_new"),
        ({}, report(6, SAME), "unexpected: fuc_too_new"),
        # Another key weighs more than any counter or time.
        ({}, report(3, key="key-2"), "unexpected: container_key_mismatch"),
        ({}, report(6, key="key-2"), "unexpected: container_key_mismatch"),
        ({}, report(3, OLDER, "key-2"), "unexpected: container_key_mismatch"),
        # What staff or the vendor has to lift first weighs most.
        ({"state": ContainerState.BLOCKED}, report(3), "container_blocked"),
        ({"state": ContainerState.BLOCKED}, report(6, OLDER, "key-2"), "container_blocked"),
        (
            {"state": ContainerState.UNEXPECTED_STATE, "reason": UnexpectedReason.FUC_TOO_OLD},
            report(3),
            "fuc_too_old",
        ),
        (
            {"state": ContainerState.UNEXPECTED_STATE, "reason": UnexpectedReason.FUC_TOO_NEW},
            report(3, key="key-2"),
            "fuc_too_new",
        ),
        (
            {"state": ContainerState.UNEXPECTED_STATE, "reason": UnexpectedReason.KEY_MISMATCH},
            report(3),
            "container_key_mismatch",
        ),
    ],
)
def test_each_branch(state: dict[str, Any], shown: Report, expected: str) -> None:
    assert named(judge(container(**state), shown)) == expected


@given(
    confirmed=st.integers(0, 5),
    unproven=st.integers(0, 5),
    fuc=st.integers(0, 12),
    age=st.integers(-2, 2),
)
def test_fitting_means_newer_and_between_proven_and_issued(
    confirmed: int, unproven: int, fuc: int, age: int
) -> None:
    issued = confirmed + unproven
    judgement = judge(
        container(fuc_confirmed=confirmed, fuc_issued=issued), report(fuc, timedelta(microseconds=age))
    )
    assert isinstance(judgement, Fits) == (age > 0 and confirmed <= fuc <= issued)
    if isinstance(judgement, Fits):
        assert judgement.newly_proven == (fuc > confirmed)


@pytest.mark.parametrize("reason", UnexpectedReason)
def test_reason_is_the_code_and_stands_in_the_message(reason: UnexpectedReason) -> None:
    error = unexpected_state("130-1", reason)
    assert (error.code, error.detail) == (str(reason), {"serial": "130-1", "reason": str(reason)})
    assert "130-1 is in an unexpected state" in error.message
