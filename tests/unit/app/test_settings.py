from __future__ import annotations

import base64
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings
from fsb_gateway.engine.journal import KEEP


def test_no_transfer_lives_longer_than_half_of_what_box_journals_remember() -> None:
    longest = KEEP.total_seconds() / 2
    assert Settings(program_deadline_seconds=longest).program_deadline == KEEP / 2
    with pytest.raises(ValidationError):
        Settings(program_deadline_seconds=longest + 1)


@pytest.mark.parametrize("boxes", ["embedded", "processes", "unix:/run/gateway.sock", "https://[::1]:8443"])
def test_boxes_work_in_one_of_these_places(boxes: str) -> None:
    assert Settings(boxes=boxes).boxes == boxes


@pytest.mark.parametrize(
    "boxes",
    [
        "",
        "Embedded",
        "unix:gateway.sock",
        "http://127.0.0.1:8443",
        "ftp://x",
        "https://",
        "https://x:port",
        "https://x:8443/",
    ],
)
def test_boxes_work_nowhere_else(boxes: str) -> None:
    with pytest.raises(ValidationError, match="embedded, processes"):
        Settings(boxes=boxes)


def test_key_encryption_key_is_a_credential_before_it_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = bytes(32), bytes(range(32))
    assert Settings().key_encryption_key_bytes is None
    (tmp_path / "wops_key_encryption_key").write_bytes(base64.b64encode(first) + b"\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert Settings().key_encryption_key_bytes == first
    monkeypatch.setenv("WOPS_KEY_ENCRYPTION_KEY", base64.b64encode(second).decode())
    settings = Settings()
    assert settings.key_encryption_key_bytes == second
    assert base64.b64encode(second).decode() not in repr(settings)


@pytest.mark.parametrize("text", ["", "c2hvcnQ=", "?" * 44, base64.b64encode(bytes(33)).decode()])
def test_wrong_key_encryption_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(key_encryption_key=text)
    assert not text or text not in str(caught.value)
