from __future__ import annotations

import stat
from pathlib import Path

import pytest

from app.core.lock import locked, make_private


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("before", [0o755, 0o777, 0o700, 0o750])
def test_directory_that_is_there_is_closed_to_others(tmp_path: Path, before: int) -> None:
    tmp_path.chmod(before)
    make_private(tmp_path)
    assert _mode(tmp_path) == 0o700


def test_missing_directory_is_made_closed(tmp_path: Path) -> None:
    make_private(tmp_path / "a" / "data")
    assert _mode(tmp_path / "a" / "data") == 0o700


def test_directory_that_everybody_uses_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(PermissionError) as refused:
        make_private(tmp_path)
    assert refused.value.filename == str(tmp_path)
    assert _mode(tmp_path) == 0o1777


def test_second_taker_is_refused_until_the_first_has_let_go(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(BlockingIOError), locked(tmp_path):
        pass
    with locked(tmp_path):
        assert _mode(tmp_path / "lock") == 0o600
