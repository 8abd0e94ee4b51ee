"""One running platform for all tests here, with an instance of each edition; tests of quotas add their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.api.site import EDITIONS, Instance, Site

MakeInstance = Callable[..., Instance]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The platform."""
    with Site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """A platform for this test alone."""
    with Site(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def slow_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A platform where each operation of a box takes a second, and nobody waits longer than 50 ms for it."""
    folder = tmp_path_factory.mktemp("slow")
    with Site(folder, operation_time_ms=1000, program_wait_seconds=0.05, drive_lease_seconds=0.5) as running:
        yield running


@pytest.fixture(scope="session")
def instances(site: Site) -> dict[str, Instance]:
    """An instance of each edition, each of a customer of its own."""
    return {edition: site.add_instance(edition, edition.replace("_", "-")) for edition in EDITIONS}


@pytest.fixture(scope="session")
def names() -> Iterator[int]:
    """Numbers nobody has used yet."""
    return count(1)


@pytest.fixture
def make_instance(site: Site, names: Iterator[int]) -> MakeInstance:
    """Makes further instances."""

    def make(edition: str = "dedicated", **asked: Any) -> Instance:
        return site.add_instance(edition, f"extra-{next(names)}", **asked)

    return make


@pytest.fixture
def instance(make_instance: MakeInstance) -> Instance:
    """A fresh instance of the Dedicated edition, for this test alone."""
    return make_instance()
