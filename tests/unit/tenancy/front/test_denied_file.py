from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest

from tenancy.front.denied import MOST_DENIED, Denial
from tenancy.front.denied_file import DENIED_FILE, read_denials, write_denials
from tenancy.line_file import LineFileDamaged

DENIALS = (
    Denial(network=ip_network("192.0.2.0/24"), until=datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC)),
    Denial(network=ip_network("2001:db8::/32")),
)


def test_denials_are_read_as_they_were_written(tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    assert read_denials(lines) == ()
    write_denials(lines, DENIALS)
    assert read_denials(lines) == DENIALS
    assert ((lines / DENIED_FILE).stat().st_mode & 0o777, lines.stat().st_mode & 0o777) == (0o600, 0o700)
    write_denials(lines, ())
    assert read_denials(lines) == ()


def test_same_denials_are_not_written_again(tmp_path: Path) -> None:
    write_denials(tmp_path, DENIALS)
    before = (tmp_path / DENIED_FILE).stat().st_ino
    write_denials(tmp_path, DENIALS)
    assert (tmp_path / DENIED_FILE).stat().st_ino == before


def test_as_many_as_there_can_be_fit(tmp_path: Path) -> None:
    longest = ip_network("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128")
    most = tuple(Denial(network=longest, until=datetime.max.replace(tzinfo=UTC)) for _ in range(MOST_DENIED))
    write_denials(tmp_path, most)
    assert read_denials(tmp_path) == most


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"format": 2, "denied": []}',
        b'{"format": 1, "denied": [{}]}',
        b'{"format": 1, "denied": [{"network": "x"}]}',
        b'{"format": 1, "denied": [{"network": "192.0.2.1/24"}]}',
        b'{"format": 1, "denied": [{"network": "192.0.2.0/24", "until_us": 9000000000000000000}]}',
        b'{"format": 1, "denied": [{"network": "192.0.2.0/24", "until_us": 99999999999999999999}]}',
        b'{"format": 1, "denied": []' + b" " * 1_000_000 + b"}",
    ],
)
def test_what_control_does_not_write_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DENIED_FILE).write_bytes(content)
    with pytest.raises(LineFileDamaged):
        read_denials(tmp_path)


def test_file_that_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    (tmp_path / DENIED_FILE).mkdir()
    with pytest.raises(LineFileDamaged):
        read_denials(tmp_path)
