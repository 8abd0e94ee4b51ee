from __future__ import annotations

import pytest

from tenancy.access.revocation.verification import Verification, judge_codes


@pytest.mark.parametrize(
    ("own", "authority", "found"),
    [
        (0, 0, "good"),
        (20, 0, "good"),
        (18, 0, "good"),
        (3, 3, "good"),
        (10, 0, "good"),
        (9, 10, "good"),
        (7, 0, "good"),
        (26, 0, "good"),
        (0, 24, "good"),
        (23, 0, "revoked"),
        (0, 23, "revoked"),
        (23, 12, "revoked"),
        (12, 0, "good"),
        (3, 12, "good"),
        (12, 12, "good"),
        (34, 0, "not_verified"),
        (34, 12, "not_verified"),
        (999, 0, "not_verified"),
        (1, 0, "not_verified"),
    ],
)
def test_codes_say_what_the_line_cannot_find_out(own: int, authority: int, found: Verification) -> None:
    assert judge_codes(own, authority) == found
