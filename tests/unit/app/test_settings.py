from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.settings import Settings
from fsb_gateway.journal import KEEP


def test_no_transfer_lives_longer_than_half_of_what_box_journals_remember() -> None:
    longest = KEEP.total_seconds() / 2
    assert Settings(program_deadline_seconds=longest).program_deadline == KEEP / 2
    with pytest.raises(ValidationError):
        Settings(program_deadline_seconds=longest + 1)
