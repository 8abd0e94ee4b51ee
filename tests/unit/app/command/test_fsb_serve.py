from __future__ import annotations

from pathlib import Path

import pytest

from app.command.fsb_serve import Addresses
from app.core.errors import InputInvalid

OWN, CA = Path("own.crt"), Path("ca.crt")


@pytest.mark.parametrize(
    ("where", "host", "port"),
    [("192.0.2.1:8443", "192.0.2.1", 8443), ("[::1]:0", "::1", 0), ("box:1", "box", 1)],
)
def test_address_has_a_host_and_a_port(where: str, host: str, port: int) -> None:
    found = Addresses.of((where, CA), (None, None), certificate=OWN, key=OWN)
    assert found.lines is not None
    assert (found.lines.host, found.lines.port, found.control) == (host, port, None)


@pytest.mark.parametrize("where", ["nowhere", ":8443", "host:", "host:x", "host:65536", "host:٣"])
def test_text_that_is_no_address_is_refused(where: str) -> None:
    with pytest.raises(InputInvalid, match="--control-listen is HOST:PORT"):
        Addresses.of((None, None), (where, CA), certificate=OWN, key=OWN)


@pytest.mark.parametrize(("certificate", "key", "ca"), [(None, OWN, CA), (OWN, None, CA), (OWN, OWN, None)])
def test_address_without_what_mutual_tls_needs_is_refused(
    certificate: Path | None, key: Path | None, ca: Path | None
) -> None:
    with pytest.raises(InputInvalid, match="--listen needs --certificate, --key and --lines-ca"):
        Addresses.of(("127.0.0.1:0", ca), (None, None), certificate=certificate, key=key)


def test_without_addresses_no_certificate_is_needed() -> None:
    found = Addresses.of((None, None), (None, None), certificate=None, key=None)
    assert (found.lines, found.control) == (None, None)
