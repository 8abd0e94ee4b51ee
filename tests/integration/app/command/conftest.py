"""A platform of its own for each file of tests, as a process; files that want it filled have their own fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.app.command.platform_process import PlatformProcess, running, wops_json


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    with running(tmp_path_factory.mktemp("platform") / "data") as empty:
        yield empty


@pytest.fixture(scope="module")
def at(platform: PlatformProcess) -> tuple[str, str]:
    return platform.at


@pytest.fixture(scope="module")
def customer(at: tuple[str, str]) -> str:
    return str(wops_json("admin", "customer", "add", "acme", *at)["customer_id"])
