"""Lines of an instance from the command line."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import pytest

from tests.integration.app.command.platform_process import PlatformProcess, wops, wops_json
from tests.service.wait import wait_until

NAME: Final = "acme-lines"
FIRST, SECOND = f"{NAME}-1", f"{NAME}-2"


@pytest.fixture(scope="module")
def instance(at: tuple[str, str], customer: str) -> str:
    order = ("--customer", customer, "--edition", "high_availability")
    wops_json("admin", "instance", "add", NAME, *order, *at)
    return NAME


def test_line_is_weighed_taken_out_and_put_back(instance: str, at: tuple[str, str]) -> None:
    line = ("admin", "line")
    assert wops_json(*line, "weight", instance, FIRST, "50", *at)["weight"] == 50
    drained = wops_json(*line, "drain", instance, FIRST, "--reason", "new memory", *at)
    assert (drained["in_service"], drained["out_by"], drained["out_reason"]) == (False, "staff", "new memory")
    table = wops(*line, "list", instance, *at).stdout
    assert FIRST in table
    assert "new memory" in table
    last = wops(*line, "drain", instance, SECOND, *at)
    assert last.returncode != 0
    assert "line_last" in last.stderr
    assert wops_json(*line, "restore", instance, FIRST, *at)["in_service"]


def test_temporary_line_is_asked_for_and_ended(
    instance: str, platform: PlatformProcess, at: tuple[str, str]
) -> None:
    made = wops_json(
        *("admin", "token", "add", "peak", "--role", "admin", "--person", "mona@wops.example"), *at
    )
    mona = platform.remote(made["secret"])
    add = ("admin", "line", "add", instance, "--until", "2099-01-01T00:00:00Z", "--reason", "a peak")
    refused = wops(*add, *mona)
    assert "line_period_unfit" in refused.stderr, "in more than a year"
    asked = wops_json(*_replaced(add, _soon(at)), *mona)
    path = ("admin", "approval", "approve", asked["approval_id"], "--version", str(asked["version"]))
    wops_json(*path, *at)

    def third() -> bool:
        rows = wops_json("admin", "line", "list", instance, *at)
        return [row["in_service"] for row in rows][2:] == [True]

    wait_until(third, "the third line")
    assert wops_json("admin", "line", "remove", instance, f"{NAME}-3", *at)["kind"] == "remove_line"
    wait_until(lambda: len(wops_json("admin", "line", "list", instance, *at)) == 2, "its end")


def test_line_that_is_not_there_is_said_so(instance: str, at: tuple[str, str]) -> None:
    for name in ("nothing", "../../boxes", "a?b=c", "x y"):
        answer = wops("admin", "line", "drain", instance, name, *at)
        assert answer.returncode != 0
        assert "_not_found" in answer.stderr, name


def _soon(at: tuple[str, str]) -> str:
    """A day after the contract began."""
    (row,) = wops_json("admin", "contract", "list", NAME, *at)
    return (datetime.fromisoformat(row["effective_from"]) + timedelta(days=1)).isoformat()


def _replaced(command: tuple[str, ...], until: str) -> tuple[str, ...]:
    place = command.index("--until") + 1
    return (*command[:place], until, *command[place + 1 :])
