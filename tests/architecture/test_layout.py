"""Where things lie: DESIGN section 4."""

from __future__ import annotations

import tomllib

import pytest

from tests.architecture.source import PACKAGES, ROOT, is_ours, iter_files, iter_modules, relative

TOP_LEVEL = {*PACKAGES, "migrations", "tests", "deploy"}
README_LINES = 60
FORBIDDEN_MODULES = {"util", "utils", "helper", "helpers", "common", "misc", "base", "manager", "managers"}


def test_top_level_folders_are_those_of_the_design() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and is_ours(path)} - {".ci"}
    assert folders <= TOP_LEVEL, f"not in the design: {sorted(folders - TOP_LEVEL)}"
    assert set(PACKAGES) <= folders


@pytest.mark.parametrize("package", PACKAGES)
def test_package_has_a_readme(package: str) -> None:
    assert (ROOT / package / "README.md").is_file()


def test_no_readme_of_a_package_is_longer_than_a_page() -> None:
    readmes = [path for path in iter_files(*PACKAGES) if path.name == "README.md"]
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in readmes}
    assert {name: count for name, count in lengths.items() if count > README_LINES} == {}


def test_no_module_is_named_after_nothing() -> None:
    named = [
        relative(path)
        for path in iter_modules(*PACKAGES, "tests")
        if _names(relative(path)) & FORBIDDEN_MODULES
    ]
    assert named == []


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in iter_modules()}
    bare = [relative(folder) for folder in folders if not (folder / "__init__.py").is_file()]
    assert bare == [], "import contracts do not see folders without __init__.py"


def test_every_folder_of_tests_is_run() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    run = set(config["tool"]["pytest"]["ini_options"]["testpaths"])
    present = {
        "/".join(relative(path).split("/")[:2])
        for path in iter_modules("tests")
        if path.name.startswith("test_")
    }
    assert present <= run, "pytest's testpaths lacks a folder"


def _names(path: str) -> set[str]:
    return set(path.removesuffix(".py").split("/"))
