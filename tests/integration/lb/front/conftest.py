"""What tests of a front with a real HAProxy share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from lb.front.settings import FrontTimes
from tests.service.front_site import FrontSite, running_front


@pytest.fixture
def site() -> Iterator[FrontSite]:
    """A front of one's own that serves nobody yet, and three lines that wait."""
    with running_front() as running:
        for number in (1, 2, 3):
            running.start_line(number)
        yield running


@pytest.fixture
def patient_site() -> Iterator[FrontSite]:
    """As `site`; a machine so busy that lines answer late loses no line, and old workers have time to finish."""
    moment = timedelta(seconds=5)
    times = FrontTimes(connect=moment, check_every=moment, check_within=moment, server=timedelta(seconds=60))
    with running_front(times=times) as running:
        for number in (1, 2, 3):
            running.start_line(number)
        yield running


@pytest.fixture(scope="module")
def shared_site() -> Iterator[FrontSite]:
    """One for all tests of a file, each of which applies what it needs."""
    with running_front() as running:
        for number in (1, 2, 3):
            running.start_line(number)
        yield running
