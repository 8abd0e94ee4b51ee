"""A file that comes from a platform has its name when it is whole, and never in the place of another."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from app.command.received_file import received_file, write_checked
from app.core.net import NetUnavailable

CHUNKS = (b"one", b"", b"two")
DIGEST = hashlib.sha256(b"onetwo").hexdigest()


def test_what_has_come_whole_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with received_file(path) as file:
        assert not path.exists(), "no name before it is whole"
        assert write_checked(file, CHUNKS, sha256=DIGEST) == 6
    assert path.read_bytes() == b"onetwo"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("chunks", [(), (b"one",), (b"onetwo", b"!"), (b"oneTwo",)])
def test_what_is_not_what_the_platform_holds_is_refused_and_not_kept(
    tmp_path: Path, chunks: tuple[bytes, ...]
) -> None:
    with pytest.raises(NetUnavailable, match=f"instead of {DIGEST}"), received_file(tmp_path / "x") as file:
        write_checked(file, chunks, sha256=DIGEST)
    assert list(tmp_path.iterdir()) == []


def _receive(path: Path, then: Callable[[], object]) -> None:
    with received_file(path) as file:
        file.write(b"mine")
        then()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("full"), NetUnavailable("gone")])
def test_what_breaks_off_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    def break_off() -> None:
        raise error

    with pytest.raises(type(error)):
        _receive(tmp_path / "x", break_off)
    assert list(tmp_path.iterdir()) == []


def test_file_that_comes_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(FileExistsError, match="is there already"):
        _receive(path, lambda: path.write_bytes(b"theirs"))
    with pytest.raises(FileExistsError, match="is there already"):
        _receive(path, lambda: pytest.fail("nothing is asked for"))
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"x": b"theirs"}


def test_link_to_nowhere_is_a_name_too(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        _receive(tmp_path / "x", lambda: pytest.fail("nothing is asked for"))


def test_place_that_takes_no_file_is_known_before_anything_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _receive(tmp_path / "missing" / "x", lambda: pytest.fail("nothing is asked for"))
