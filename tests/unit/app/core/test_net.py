"""What the command line makes of addresses and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.core.errors import InputInvalid
from app.core.net import ApiSession


@pytest.mark.parametrize("address", ["", "ftp://x", "x", "http://", "http://[::1", "/x", "http://a\x07b"])
def test_address_that_is_none_is_refused_before_anything_is_sent(address: str) -> None:
    with pytest.raises(InputInvalid, match="URL"):
        ApiSession(address)


@pytest.mark.parametrize("address", ["http://127.0.0.1:8080", "https://wops.example", "http://[::1]:8080"])
def test_address_may_be_of_either_scheme(address: str) -> None:
    ApiSession(address, bearer="wops_staff_x").close()


def test_authority_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    missing, wrong = tmp_path / "none.pem", tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    with pytest.raises(InputInvalid, match=r"none\.pem cannot be read: No such file"):
        ApiSession("https://wops.example", authority=missing)
    with pytest.raises(InputInvalid, match=r"wrong\.pem holds no certificate"):
        ApiSession("https://wops.example", authority=wrong)
