"""The repository as text: what the architecture tests look at."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("app", "editions", "tenancy", "fsb_gateway", "lb")

_MADE_BY_TOOLS = re.compile(r"__pycache__|node_modules|build|dist|htmlcov|var|.+\.egg-info")
_HIDDEN_BUT_OURS = frozenset({".ci", ".pre-commit-config.yaml", ".gitignore", ".editorconfig"})
_BINARY_SUFFIXES = frozenset({".png", ".ico", ".woff2", ".jpg", ".gz", ".zip", ".pyc", ".sqlite3"})


def is_ours(path: Path) -> bool:
    """Whether a file or folder of the top level belongs to the repository, not to a tool or an editor."""
    if path.name.startswith("."):
        return path.name in _HIDDEN_BUT_OURS
    return not _MADE_BY_TOOLS.fullmatch(path.name)


@cache
def iter_files(*tops: str) -> Iterable[Path]:
    """All files of ours below the named top-level entries, or in the whole repository."""
    return tuple(_walk(*tops))


def _walk(*tops: str) -> Iterator[Path]:
    entries = [ROOT / top for top in tops] if tops else [path for path in ROOT.iterdir() if is_ours(path)]
    for entry in sorted(entries):
        if entry.is_file():
            yield entry
        for path in sorted(entry.rglob("*")):
            inside = path.relative_to(entry).parts
            if path.is_file() and not any(_MADE_BY_TOOLS.fullmatch(part) for part in inside[:-1]):
                yield path


def iter_text_files() -> Iterator[Path]:
    """All files of ours that hold text."""
    return (path for path in iter_files() if path.suffix not in _BINARY_SUFFIXES)


def iter_modules(*tops: str) -> Iterator[Path]:
    """All Python files below the named top-level folders; the product's packages unless told otherwise."""
    return (path for path in iter_files(*(tops or PACKAGES)) if path.suffix == ".py")


def relative(path: Path) -> str:
    """A path as it is shown in a failure."""
    return path.relative_to(ROOT).as_posix()


def module_name(path: str) -> str:
    """The dotted name under which a file of `relative` form is imported."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def read(path: Path) -> str:
    """The text of a file."""
    return path.read_text(encoding="utf-8")


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(read(path), filename=str(path))


def imports_of(path: Path, name: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import of a module or of what is below it, wherever the import stands."""
    # Most files do not even hold the word; reading a syntax tree takes a hundred times as long.
    if name not in read(path):
        return
    for line, module in _imports(parse(path)):
        if module == name or module.startswith(f"{name}."):
            yield line, module


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """`from a import b` gives `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def method_calls(path: Path, method: str) -> Iterator[ast.Call]:
    """Every call of a method of this name in a file, whatever it is called on."""
    if method not in read(path):
        return
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
            yield node
