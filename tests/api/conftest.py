"""One running platform for all tests here, with an instance of each edition; tests of quotas add their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from tests.api.site import EDITIONS, Instance, Site

MakeInstance = Callable[..., Instance]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The platform."""
    running = Site(tmp_path_factory.mktemp("site")).start()
    yield running
    running.stop()


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
