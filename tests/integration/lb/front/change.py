"""What tests of changes to a running front share: the usual state, who answers, and whether all agrees."""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPConnection
from typing import Any

from lb.front.state import FrontState
from tests.service.front_site import FrontSite


def agrees(site: FrontSite) -> bool:
    """Whether what runs is what the files say, asked by somebody who knows nothing."""
    status = site.front.status()
    assert status.running
    assert status.differences == ()
    return status.agrees


def served(site: FrontSite, count: int) -> list[str]:
    """Who answers requests on one connection, in their order."""
    host, port = site.plain.split(":")
    connection = HTTPConnection(host, int(port), timeout=30)
    found = []
    with closing(connection):
        for _ in range(count):
            connection.request("GET", "/acme/x")
            with connection.getresponse() as answer:
                answer.read()
                found.append(str(answer.headers["x-answered-by"]))
    return found


def flooded(site: FrontSite, count: int) -> list[int]:
    """Status codes of so many requests on one connection, in their order: too fast to be spread over a window."""
    host, port = site.plain.split(":")
    found = []
    with closing(HTTPConnection(host, int(port), timeout=30)) as connection:
        for _ in range(count):
            connection.request("GET", "/acme/x")
            with connection.getresponse() as answer:
                answer.read()
                found.append(answer.status)
    return found


def serving(site: FrontSite) -> set[str]:
    """The lines that get requests: lots are drawn, and one of three is left out once in 10^35 times."""
    return set(served(site, 200))


def two(site: FrontSite, **values: Any) -> FrontState:
    return site.state(site.line(1), site.line(2), **values)
