from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A socket's path is at most 107 bytes, hence no folder of pytest's. Source: unix(7)."""
    folder = Path(tempfile.mkdtemp(prefix="wops-"))
    yield folder / "d"
    shutil.rmtree(folder)
