"""The isolation probe through the admin API: one round at a time, on record, and no outage taken for a breach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.errors import DatabaseUnavailable
from app.core.ids import new_id
from app.http import page
from app.main import FrontDoor
from app.operations.probe.isolation_probe import Knock
from tests.api.conftest import MakeInstance
from tests.api.site import Instance, Site, good, refused

RUN = "/probes/isolation:run"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Site]:
    """A site of its own: a round takes as long as there are instances."""
    with Site(tmp_path) as site:
        yield site


def outcomes(result: dict[str, object], check: str) -> set[str]:
    checks = result["checks"]
    assert isinstance(checks, list)
    return {each["outcome"] for each in checks if each["check"] == check}


def test_round_that_staff_ask_for_is_theirs_on_record_and_repeated_once(small: Site) -> None:
    for name in ("alpha", "beta"):
        small.add_instance("dedicated", name)
    key = {"Idempotency-Key": new_id("key")}
    first = small.admin("POST", RUN, headers=key)
    result = good(first)
    assert result["held"], [each for each in result["checks"] if each["outcome"] != "held"]
    assert outcomes(result, "own_file") == outcomes(result, "foreign_operation") == {"held"}
    again = small.admin("POST", RUN, headers=key)
    assert (good(again), again.headers["Idempotency-Replayed"]) == (result, "true")
    assert good(small.admin("GET", "/probes/isolation")) == [result]
    query = {"request_id": first.headers["request-id"]}
    (entry,) = good(small.admin("GET", "/audit", params=query))["data"]
    assert (entry["type"], entry["action"], entry["actor"]["kind"]) == (
        "probe.run",
        "runIsolationProbe",
        "staff",
    )


def test_one_round_at_a_time(small: Site) -> None:
    probe = small.platform.isolation_probe
    small.run(probe._running.acquire())
    try:
        refused(small.admin("POST", RUN), 409, "probe_running")
        small.run(probe.run_unless_running())
    finally:
        probe._running.release()
    assert good(small.admin("GET", "/probes/isolation")) == []
    assert good(small.admin("POST", RUN))["held"]


class SickDatabase:
    """Answers nobody."""

    def read(self, _body: object) -> object:
        raise DatabaseUnavailable("The database does not answer.")


def test_outage_of_an_instance_is_no_breach_and_no_proof(small: Site) -> None:
    made = [small.add_instance("dedicated", name) for name in ("alpha", "beta")]
    for instance in made:
        good(instance.call("GET", "/items"))
    healthy = [(runtime.access, runtime.access._db) for runtime in small.platform.runtimes()]
    assert len(healthy) == 2
    small.pass_time(5)
    for access, _ in healthy:
        access._db = SickDatabase()  # type: ignore[assignment]
    try:
        refused(made[0].call("GET", "/items"), 503, "database_unavailable")
        result = good(small.admin("POST", RUN))
    finally:
        for access, db in healthy:
            access._db = db
    assert outcomes(result, "foreign_credentials") == {"unknown"}
    assert not result["held"]
    assert "broken" not in {each["outcome"] for each in result["checks"]}


class Door:
    """Answers each route with a status of its own."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = statuses

    async def knock(self, knock: Knock) -> int:
        return int(knock.path)

    def routes(self, instance: str) -> list[tuple[str, str]]:
        return [("GET", str(status)) for status in self._statuses]

    def takes_foreign_cursor(self, instance: str, other: str) -> bool:
        return False


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ((404, 404), "held"),
        ((404, 503), "unknown"),
        ((404, 401), "broken"),
        ((503, 200), "broken"),
        ((429, 404), "broken"),
    ],
)
def test_every_answer_but_404_is_a_breach_or_an_outage(
    small_shared: Site, statuses: tuple[int, ...], outcome: str
) -> None:
    probe = small_shared.platform.isolation_probe
    door = probe._door
    assert door is not None
    probe.open_door(Door(*statuses))
    try:
        assert outcomes(good(small_shared.admin("POST", RUN)), "foreign_credentials") == {outcome}
    finally:
        probe.open_door(door)


@pytest.fixture(scope="module")
def small_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("probe")) as site:
        for name in ("alpha", "beta"):
            site.add_instance("dedicated", name)
        yield site


def test_cursor_that_is_not_bound_to_its_instance_is_noticed(
    small_shared: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = FrontDoor(small_shared.platform).inner_door()
    assert not door.takes_foreign_cursor("alpha", "beta")
    assert door.takes_foreign_cursor("alpha", "alpha")
    monkeypatch.setattr(page, "scope_of", lambda request: "list of items")
    assert door.takes_foreign_cursor("alpha", "beta")


def test_stranger_gets_404_however_often_he_comes(instance: Instance, make_instance: MakeInstance) -> None:
    stranger = make_instance()
    found = {instance.call("GET", "/items", auth=stranger.auth).status_code for _ in range(20)}
    assert found == {404}
    good(instance.call("GET", "/items"))
