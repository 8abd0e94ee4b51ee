"""Dependencies: pinned with hashes, from no named index, each with its reason."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.source import ROOT

FILES = ("requirements.txt", "requirements-dev.txt")
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;]+)( ; (?P<marker>.+))?")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_ORIGIN = re.compile(r"\s*# via( .*)?|\s*#   .+")
_DEPENDENCY = re.compile(r'\s*"[A-Za-z0-9].*",')


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_a_pin_with_hashes_and_names_no_address(name: str) -> None:
    for requirement, *hashes in _read_entries(ROOT / name):
        assert _PIN.fullmatch(requirement), f"not an exact pin: {requirement}"
        assert hashes, f"no hash: {requirement}"
        assert all(_HASH.fullmatch(each) for each in hashes), f"not a hash: {requirement} {hashes}"


@pytest.mark.parametrize(
    ("name", "groups"), [("requirements.txt", ()), ("requirements-dev.txt", ("development",))]
)
def test_file_is_in_step_with_the_project(name: str, groups: tuple[str, ...]) -> None:
    pins = _read_pins(ROOT / name)
    for text in _declared(groups):
        wanted = Requirement(text)
        version = pins.get(canonicalize_name(wanted.name))
        assert version is not None, f"{wanted.name} is missing: run 'make lock'"
        assert wanted.specifier.contains(version), f"{wanted} is not met by {version}: run 'make lock'"


def test_development_pins_are_those_of_the_product() -> None:
    product, development = (_read_pins(ROOT / name) for name in FILES)
    assert {name: development.get(name) for name in product} == product


def test_every_dependency_has_its_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    start, end = lines.index("dependencies = ["), lines.index("[tool.setuptools]")
    bare = [
        line.strip()
        for before, line in zip(lines[start:end], lines[start + 1 : end], strict=False)
        if _DEPENDENCY.fullmatch(line) and not before.lstrip().startswith("#")
    ]
    assert bare == [], "the line above a dependency says what it is for"


def _read_entries(path: Path) -> Iterator[list[str]]:
    """Each requirement with its hashes; comments on where it comes from are left out."""
    text = path.read_text(encoding="utf-8")
    kept = "\n".join(line for line in text.splitlines() if not _ORIGIN.fullmatch(line))
    for entry in kept.replace("\\\n", "\0").splitlines():
        if entry.strip():
            yield [part.strip() for part in entry.split("\0")]


def _read_pins(path: Path) -> dict[str, str]:
    matches = (_PIN.fullmatch(entry[0]) for entry in _read_entries(path))
    return {canonicalize_name(match["name"]): match["version"] for match in matches if match}


def _declared(groups: tuple[str, ...]) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared: list[str] = list(project["project"]["dependencies"])
    for group in ("build", *groups):
        declared += [each for each in project["dependency-groups"][group] if isinstance(each, str)]
    return declared
