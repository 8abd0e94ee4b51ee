"""Programs that tests start. A missing one is a visible skip on a desk and a failure where CI=true."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

_SYSTEM_FOLDERS = "/usr/sbin:/sbin"
"""Where Debian puts servers; an ordinary user's search path may lack them."""


def find_binary(name: str) -> Path | None:
    """Where a program is, or None."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_FOLDERS}")
    return None if found is None else Path(found)


def require_binary(name: str) -> Path:
    """Where a program is; without it the calling test fails (CI=true) or is skipped with the reason."""
    found = find_binary(name)
    if found is None:
        give_up(f"'{name}' is not installed ('make test' as root installs it)")
    return found


def give_up(reason: str) -> NoReturn:
    """End the calling test: a failure where CI=true, else a skip that prints the reason."""
    if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
