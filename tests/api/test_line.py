"""Lines through the admin API and the portal."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from tests.api.conftest import MakeInstance
from tests.api.lifecycle import approve_asked
from tests.api.site import Instance, Site, good, refused


@pytest.fixture
def twin(make_instance: MakeInstance) -> Instance:
    """An instance with two lines."""
    return make_instance("high_availability")


def lines(instance: Instance) -> dict[str, dict[str, Any]]:
    return {each["line_id"]: each for each in good(instance.admin("GET", "/lines"))}


def change(
    instance: Instance, line: str, verb: str, body: Any = None, *, version: int | None = None
) -> httpx2.Response:
    """Change a line as it was read a moment ago, or as it was in a version."""
    etag = instance.admin("GET", f"/lines/{line}").headers["ETag"] if version is None else f'"{version}"'
    method = "POST" if verb.startswith(":") else verb
    path = f"/lines/{line}{verb}" if verb.startswith(":") else f"/lines/{line}"
    return instance.admin(method, path, body, headers={"If-Match": etag})


def add_line(instance: Instance, **times: float) -> str:
    """A temporary line in service; its id."""
    ends_at = (instance.site.clock.now() + timedelta(**(times or {"days": 1}))).isoformat()
    body = {"ends_at": ends_at, "reason": "ticket 4711"}
    approve_asked(instance.site, good(instance.admin("POST", "/lines", body), 202))
    (added,) = [each for each in lines(instance).values() if each["temporary"]]
    return str(added["line_id"])


def test_lines_are_shown_without_what_only_processes_have(twin: Instance) -> None:
    first, second = lines(twin).values()
    assert (first["line_id"], first["number"], second["number"]) == (f"{twin.name}-1", 1, 2)
    assert (first["weight"], first["in_service"], first["phase"]) == (100, True, "active")
    for name in ("state", "process_id", "restarts", "running", "applied_version", "problem"):
        assert first[name] is None
    answer = twin.admin("GET", f"/lines/{twin.name}-1")
    assert good(answer) == first
    assert answer.headers["ETag"] == '"1"'


def test_instance_without_lines_of_its_own_shows_the_shared_one_and_changes_nothing_about_it(
    make_instance: MakeInstance,
) -> None:
    instance = make_instance("datacenter")
    assert list(lines(instance)) == ["shared-1"]
    refused(change(instance, "shared-1", ":drain"), 409, "line_shared")
    refused(change(instance, "shared-1", "PATCH", {"weight": 1}), 409, "line_shared")


def test_drained_line_gets_no_request_until_it_is_restored(twin: Instance) -> None:
    first, second = lines(twin)
    drained = good(change(twin, first, ":drain"))
    assert (drained["in_service"], drained["out_by"], drained["version"]) == (False, "staff", 2)
    assert drained["out_since"] is not None
    good(twin.call("GET", "/items"))
    refused(change(twin, second, ":drain"), 409, "line_last")
    refused(change(twin, second, "PATCH", {"weight": 0}), 409, "line_last")
    restored = change(twin, first, ":restore")
    assert good(restored)["in_service"]
    assert restored.headers["ETag"] == '"3"'


def test_of_two_drains_of_the_two_lines_at_once_exactly_one_wins(twin: Instance) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda line: change(twin, line, ":drain", version=1), lines(twin)))
    assert sorted(each.status_code for each in answers) == [200, 409]
    (lost,) = [each for each in answers if each.status_code == 409]
    refused(lost, 409, "line_last")
    assert [each["in_service"] for each in lines(twin).values()].count(True) == 1


def test_weight_is_changed_on_the_version_that_was_read(twin: Instance) -> None:
    first = next(iter(lines(twin)))
    assert good(change(twin, first, "PATCH", {"weight": 256}))["weight"] == 256
    refused(change(twin, first, "PATCH", {"weight": 1}, version=1), 412, "line_version_conflict")
    refused(twin.admin("PATCH", f"/lines/{first}", {"weight": 1}), 428, "if_match_missing")
    assert lines(twin)[first]["weight"] == 256


@pytest.mark.parametrize("weight", [-1, 257, 1.5, "100", None, True, 10**30])
def test_weight_that_is_none_is_refused(twin: Instance, weight: object) -> None:
    first = next(iter(lines(twin)))
    refused(change(twin, first, "PATCH", {"weight": weight}), 422, "request_invalid")
    assert lines(twin)[first]["weight"] == 100


@pytest.mark.parametrize("line", ["nothing", "shared-1", "%00", "a%2Fb", "x" * 64, "a;b", '"%5B"'])
def test_line_of_somebody_else_is_not_found(twin: Instance, line: str) -> None:
    for verb, body in ((":drain", None), (":restore", None), ("PATCH", {"weight": 1}), ("DELETE", None)):
        answer = change(twin, line, verb, body, version=1)
        assert answer.status_code == 404, answer.text


def test_temporary_line_is_asked_for_approved_served_and_ended(site: Site, twin: Instance) -> None:
    quota = twin.meter("activations")["limit"]
    line = add_line(twin)
    shown = lines(twin)[line]
    assert (shown["in_service"], shown["phase"], shown["number"]) == (True, "active", 3)
    assert shown["contract_id"] in {each["contract_id"] for each in good(twin.admin("GET", "/contracts"))}
    box = good(site.admin("GET", f"/boxes/{twin.name}-box-3"))
    assert (box["state"], box["firm_codes"]) == ("active", [twin.firm_code])
    refused(twin.admin("DELETE", f"/contracts/{shown['contract_id']}"), 409, "contract_of_line")
    assert twin.meter("activations")["limit"] == quota // 2 * 3
    ended = change(twin, line, "DELETE")
    site.finish(good(ended, 202)["operation_id"], "succeeded")
    assert list(lines(twin)) == [f"{twin.name}-1", f"{twin.name}-2"]
    refused(site.admin("GET", f"/boxes/{twin.name}-box-3"), 404, "box_unknown")


def test_permanent_line_is_not_ended(twin: Instance) -> None:
    refused(change(twin, f"{twin.name}-1", "DELETE"), 409, "line_state_unfit")


@pytest.mark.parametrize(
    ("times", "code"),
    [
        ({"ends_at": "2020-01-01T00:00:00Z"}, "line_period_unfit"),
        ({"starts_at": "2020-01-01T00:00:00Z", "ends_at": "2026-03-11T00:00:00Z"}, "line_period_unfit"),
        ({"starts_at": "2026-03-12T00:00:00Z", "ends_at": "2026-03-11T00:00:00Z"}, "line_period_unfit"),
        ({"ends_at": "9999-01-01T00:00:00Z"}, "line_period_unfit"),
        ({"ends_at": "2026-03-11T00:00:00"}, "request_invalid"),
        ({"ends_at": "%[env(HOME)]; shutdown\n"}, "request_invalid"),
        ({}, "request_invalid"),
    ],
)
def test_temporary_line_with_times_that_make_no_sense_is_refused(
    site: Site, twin: Instance, times: dict[str, str], code: str
) -> None:
    with site.nothing_changes():
        refused(twin.admin("POST", "/lines", {"reason": "a test", **times}), 422, code)


@pytest.mark.parametrize("edition", ["datacenter", "dedicated", "high_performance"])
def test_edition_without_temporary_lines_gets_none(make_instance: MakeInstance, edition: str) -> None:
    instance = make_instance(edition)
    body = {"ends_at": "2026-03-12T00:00:00Z", "reason": "a test"}
    refused(instance.admin("POST", "/lines", body), 409, "line_edition_unfit")


def test_customer_sees_his_lines_and_nothing_of_the_machine(twin: Instance) -> None:
    shown = good(twin.portal("GET", "/lines"))
    assert [each["line_id"] for each in shown] == [f"{twin.name}-1", f"{twin.name}-2"]
    assert not {"process_id", "problem", "restarts", "out_reason"} & set(shown[0])
