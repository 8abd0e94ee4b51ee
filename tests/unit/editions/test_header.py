"""RateLimit fields as other programs read them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from editions.catalog import ACTIVATIONS, WEB_SERVICE_CALLS, Meter
from editions.header import rate_limit_headers
from editions.period import Month
from editions.quota import QuotaState

_MONTH = Month(2026, 3)
_NOW = _MONTH.end - timedelta(seconds=912_344, microseconds=1)


def _state(meter: Meter, contractual: int, used: int, *, included: bool = True) -> QuotaState:
    return QuotaState(
        meter=meter,
        month=_MONTH,
        contractual=contractual,
        refusal=contractual,
        used=used,
        taken=used,
        included=included,
    )


def test_both_quotas_are_named_with_the_real_length_of_the_month() -> None:
    states = [_state(WEB_SERVICE_CALLS, 250_000, 68_767), _state(ACTIVATIONS, 25_000, 30_000)]
    assert rate_limit_headers(states, _NOW) == (
        (
            "RateLimit-Policy",
            '"ws-month";q=250000;w=2674800, "act-month";q=25000;w=2674800;wops-unit="activation"',
        ),
        ("RateLimit", '"ws-month";r=181233;t=912345, "act-month";r=0;t=912345'),
    )


def test_refusal_says_when_to_come_back() -> None:
    headers = dict(rate_limit_headers([_state(ACTIVATIONS, 10, 10)], _NOW, refused=True))
    assert headers["Retry-After"] == "912345"


def test_what_the_edition_does_not_include_has_no_fields() -> None:
    assert rate_limit_headers([_state(WEB_SERVICE_CALLS, 0, 0, included=False)], _NOW, refused=True) == ()


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 2_674_799_999_999))
def test_fields_are_structured_fields_and_never_negative(contractual: int, used: int, offset_us: int) -> None:
    now: datetime = _MONTH.start + timedelta(microseconds=offset_us)
    headers = dict(rate_limit_headers([_state(WEB_SERVICE_CALLS, contractual, used)], now))
    assert re.fullmatch(r'"ws-month";q=\d{1,15};w=\d{1,15}', headers["RateLimit-Policy"])
    assert re.fullmatch(r'"ws-month";r=\d{1,15};t=\d{1,15}', headers["RateLimit"])
