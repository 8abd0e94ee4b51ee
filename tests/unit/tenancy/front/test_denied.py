from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tenancy.errors import NetworkInvalid, NetworkTooWide
from tenancy.front.denied import DeniedId, DeniedNetwork, check_until, read_denied
from tenancy.front.errors import DeniedNetworkPast

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize("text", ["0.0.0.0/0", "10.0.0.0/8", "::/0", "2001:d00::/24"])
def test_wide_network_is_denied_only_if_that_is_confirmed(text: str) -> None:
    with pytest.raises(NetworkTooWide):
        read_denied(text, wide_confirmed=False)
    assert str(read_denied(text, wide_confirmed=True)) == text


@pytest.mark.parametrize("text", ["", "x", "192.0.2.1/24", "fe80::1%eth0", "192.0.2.0/24;", "1" * 1000])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(NetworkInvalid):
        read_denied(text, wide_confirmed=True)


def test_denial_ends_by_itself_and_never_in_the_past() -> None:
    until = NOW + timedelta(hours=1)
    denied = DeniedNetwork(
        denied_id=DeniedId("dny_1"),
        network=read_denied("192.0.2.0/24", wide_confirmed=False),
        reason="a flood",
        until=until,
        created_at=NOW,
    )
    assert denied.is_in_force(NOW)
    assert not denied.is_in_force(until)
    check_until(None, now=NOW)
    check_until(until, now=NOW)
    with pytest.raises(DeniedNetworkPast):
        check_until(NOW, now=NOW)
