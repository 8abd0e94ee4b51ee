"""Where tokens are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.softhsm import SoftHsm, make_softhsm


@pytest.fixture
def softhsm(tmp_path: Path) -> SoftHsm:
    return make_softhsm(tmp_path / "softhsm")
