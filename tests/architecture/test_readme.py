"""A README whose table lists the modules of its package lists all of them."""

from __future__ import annotations

import re

import pytest

from tests.architecture.source import ROOT

LISTING = ("app/cluster", "app/core", "app/http")


def _named(text: str) -> re.Pattern[str]:
    """What stands between backticks in its table; `…` stands for any part of a name."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    words = {
        word
        for quoted in re.findall(r"`([^`]+)`", "\n".join(rows))
        for word in re.findall(r"\w[\w…]*", quoted)
    }
    return re.compile("|".join(word.replace("…", r"\w*") for word in sorted(words)))


@pytest.mark.parametrize("package", LISTING)
def test_readme_names_every_module_of_its_package(package: str) -> None:
    named = _named((ROOT / package / "README.md").read_text(encoding="utf-8"))
    modules = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
    assert {module for module in modules if not named.fullmatch(module)} == set()
