"""Files that appear whole, once, and for their owner only."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.core.file import create_file, draft_of, new_file, put_in_place, remove_file, replace_file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_file_is_created_once_by_the_fastest(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "key"
    contents = [bytes([number]) * 4096 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda content: create_file(path, content), contents))
    assert made.count(True) == 1
    assert path.read_bytes() == contents[made.index(True)]
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert [each.name for each in path.parent.iterdir()] == ["key"]


def test_replaced_file_is_the_old_one_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, target = tmp_path / "state", tmp_path / "target"
    replace_file(path, b"old")
    # Whoever may write to the folder cannot have somebody else's file overwritten.
    target.write_bytes(b"kept")
    (tmp_path / "state.new").symlink_to(target)

    def full(*_: object) -> None:
        raise OSError(28, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="no space"):
            replace_file(path, b"new")
    assert (path.read_bytes(), target.read_bytes()) == (b"old", b"kept")
    replace_file(path, b"new")
    assert (path.read_bytes(), target.read_bytes(), mode(path)) == (b"new", b"kept", 0o600)


def test_draft_never_takes_the_place_of_another_file(tmp_path: Path) -> None:
    path = tmp_path / "report"
    for content, is_first in ((b"first", True), (b"second", False)):
        draft = draft_of(path)
        with new_file(draft) as file:
            file.write(content)
        assert put_in_place(draft, path) is is_first
        assert not draft.exists()
    assert path.read_bytes() == b"first"
    with pytest.raises(FileExistsError), new_file(path):
        raise AssertionError


def test_removed_file_may_be_removed_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_file(path, b"x")
    for _ in range(2):
        remove_file(path)
        assert not path.exists()
