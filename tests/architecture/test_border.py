"""What may be done in which file only: STYLE section 1.

Reaches where import contracts cannot: calls, the standard library, and files that do not exist yet.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from fnmatch import fnmatchcase

import pytest

from tests.architecture.source import imports_of, iter_modules, method_calls, relative

# Import → files that may have it. `*` stops at no slash.
IMPORT_BORDERS: Mapping[str, tuple[str, ...]] = {
    "aiohttp": ("fsb_gateway/carrier/http_exchange.py",),
    "httpx": ("app/core/net.py",),
    "sqlalchemy": (
        "*/repository.py",
        "*/tables.py",
        "app/core/db*.py",
        "app/core/outbox*.py",
        "app/core/schema*.py",
        "app/core/migrate*.py",
    ),
    "pymysql": ("app/core/db*.py", "app/core/migrate*.py"),
    "alembic": ("app/core/migrate*.py",),
    "subprocess": ("app/core/process.py",),
    # A main program hears the signals that are sent to it.
    "signal": (
        "app/core/process.py",
        # HAProxy finishes what it has upon a signal of its own, which is named there.
        "lb/process.py",
        "app/command/cluster_up.py",
        "app/command/fsb_box.py",
        "app/command/fsb_serve.py",
        "app/command/line.py",
        "app/command/migrate.py",
        "app/command/up.py",
    ),
    # For Starlette's test client only; never the product's.
    "httpx2": (),
    "tests": (),
}
COMMIT_ALLOWED = ("app/core/db*.py",)
SLEEP_ALLOWED = ("tests/service/wait.py", "tests/fake/clock.py", "tests/bench/*")


@pytest.mark.parametrize("name", sorted(IMPORT_BORDERS))
def test_import_stays_in_its_files(name: str) -> None:
    found = {
        f"{relative(path)}:{line} imports {module}"
        for path in iter_modules()
        if not _allowed(relative(path), IMPORT_BORDERS[name])
        for line, module in imports_of(path, name)
    }
    assert sorted(found) == []


def test_only_run_tx_commits() -> None:
    found = [
        f"{relative(path)}:{call.lineno}"
        for path in iter_modules()
        if not _allowed(relative(path), COMMIT_ALLOWED)
        for call in method_calls(path, "commit")
    ]
    assert found == []


def test_tests_wait_on_conditions_and_never_for_a_time() -> None:
    found = [
        f"{relative(path)}:{call.lineno}: use tests.service.wait"
        for path in iter_modules("tests")
        if not _allowed(relative(path), SLEEP_ALLOWED)
        for call in method_calls(path, "sleep")
        if not _only_yields(call)
    ]
    assert found == []


def _only_yields(call: ast.Call) -> bool:
    """`sleep(0)` lets others run and waits for nothing."""
    return [getattr(argument, "value", None) for argument in call.args] == [0]


def _allowed(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
