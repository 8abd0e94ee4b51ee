"""People of the staff, their tokens, and what they do only together."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import httpx2
import pytest

from app.core.ids import new_id
from tests.api.site import Instance, Site, good, refused


class Colleague:
    """A member of staff at his desk."""

    def __init__(self, site: Site, role: str, person: str | None = None) -> None:
        self.site = site
        made = site.add_token(role, person=person or new_id("person"))
        self.token, self.token_id = str(made["secret"]), str(made["token"]["token_id"])

    def call(self, method: str, path: str, json: Any = None, **headers: str) -> httpx2.Response:
        given = {
            "Authorization": f"Bearer {self.token}",
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        if method == "POST":
            given.setdefault("Idempotency-Key", new_id("key"))
        return self.site.call(method, f"/admin/v1{path}", json=json, headers=given)

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        return dict(good(self.call("POST", path, {"reason": "ticket 4711", **body}), 202))

    def approve(self, approval: dict[str, Any], *, version: str | None = '"1"') -> httpx2.Response:
        headers = {} if version is None else {"If_Match": version}
        return self.call("POST", f"/approvals/{approval['approval_id']}:approve", {}, **headers)


@pytest.fixture
def mona(site: Site) -> Colleague:
    return Colleague(site, "operator")


@pytest.fixture
def hugo(site: Site) -> Colleague:
    return Colleague(site, "admin")


def activate(instance: Instance) -> None:
    ticket, device = instance.sell(), instance.device()
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    good(instance.gate("POST", "/transfers", body), 201)


def test_quota_is_corrected_when_a_second_person_has_read_and_approved_it(
    site: Site, instance: Instance, mona: Colleague, hugo: Colleague
) -> None:
    activate(instance)
    activate(instance)
    counted = [each for each in instance.ledger("activations") if each["phase"] == "counted"]
    effect = counted[0]["effect_id"]
    asked = mona.ask(f"/instances/{instance.instance_id}/quota:correct", month="2026-03", effect_ids=[effect])
    assert (asked["action"], asked["state"]) == ("correctQuota", "requested")
    assert asked["parameters"] == {
        "month": "2026-03",
        "effect_ids": [effect],
        "taken_back": {"activations": 1},
    }
    path = f"/approvals/{asked['approval_id']}"
    read = hugo.call("GET", path)
    assert (good(read), read.headers["ETag"]) == (asked, '"1"')
    with site.nothing_changes():
        refused(hugo.approve(asked, version=None), 428, "if_match_missing")
        refused(hugo.approve(asked, version='"2"'), 412, "approval_version_conflict")
        refused(mona.approve(asked), 403, "approval_by_requester")
    done = good(hugo.approve(asked))
    assert (done["state"], done["version"]) == ("approved", 2)
    site.finish(done["operation_id"])
    meter = instance.meter("activations")
    assert (meter["used"], meter["voided"]) == (1, 1)
    rows = instance.ledger("activations")
    (voided,) = [each for each in rows if each["phase"] == "voided"]
    assert (voided["effect_id"], voided["reference"]) == (effect, done["operation_id"])
    instance.check_books()
    body = {"month": "2026-03", "effect_ids": [effect], "reason": "again"}
    answer = mona.call("POST", f"/instances/{instance.instance_id}/quota:correct", body)
    refused(answer, 409, "effect_already_voided")


def test_repeated_request_finds_its_approval_even_when_it_has_been_carried_out(
    site: Site, instance: Instance, mona: Colleague, hugo: Colleague
) -> None:
    activate(instance)
    effect = instance.ledger("activations")[0]["effect_id"]
    path, key = f"/instances/{instance.instance_id}/quota:correct", new_id("key")
    body = {"month": "2026-03", "effect_ids": [effect], "reason": "x"}
    asked = good(mona.call("POST", path, body, Idempotency_Key=key), 202)
    done = good(hugo.approve(asked))
    site.finish(done["operation_id"])
    again = mona.call("POST", path, body, Idempotency_Key=key)
    assert (good(again, 202), again.headers["Idempotency-Replayed"]) == (done, "true")
    repeat = hugo.call("POST", f"/approvals/{asked['approval_id']}:approve", {}, If_Match='"1"')
    refused(repeat, 409, "approval_closed")


def test_nobody_approves_alone_not_even_with_a_second_token(site: Site, instance: Instance) -> None:
    name = new_id("person")
    first, second = Colleague(site, "operator", name), Colleague(site, "admin", f" {name.upper()} ")
    asked = first.ask(f"/instances/{instance.instance_id}/firm-key:install")
    outsiders = [Colleague(site, role) for role in ("support", "auditor")]
    with site.nothing_changes():
        for same in (first, second):
            refused(same.approve(asked), 403, "approval_by_requester")
        for outsider in outsiders:
            refused(outsider.approve(asked), 403, "staff_role_insufficient")
            body = {"reason": "no"}
            answer = outsider.call("POST", f"/approvals/{asked['approval_id']}:reject", body)
            refused(answer, 403, "staff_role_insufficient")
    good(first.call("POST", f"/approvals/{asked['approval_id']}:reject", {"reason": "taken back"}))


def local(site: Site) -> httpx2.Client:
    """Who may open the control socket."""
    transport = httpx2.HTTPTransport(uds=str(site.settings.control_socket))
    return httpx2.Client(transport=transport, base_url="http://control")


def test_firm_key_is_installed_when_the_local_operator_is_the_second_person(
    site: Site, instance: Instance, mona: Colleague
) -> None:
    asked = mona.ask(f"/instances/{instance.instance_id}/firm-key:install")
    path = f"/admin/v1/approvals/{asked['approval_id']}:approve"
    with local(site) as caller:
        headers = {"Idempotency-Key": new_id("key"), "If-Match": '"1"'}
        done = good(caller.post(path, json={}, headers=headers))
    assert done["decided_by"] == "local"
    site.finish(done["operation_id"])
    activate(instance)


def test_token_decides_who_it_is_on_the_control_socket_too(
    site: Site, instance: Instance, mona: Colleague
) -> None:
    asked = mona.ask(f"/instances/{instance.instance_id}/firm-key:install")
    path = f"/admin/v1/approvals/{asked['approval_id']}"
    with local(site) as caller:
        headers = {"Idempotency-Key": new_id("key"), "If-Match": '"1"'}
        for given in ("Bearer garbage", "Bearer", "", "Basic bW9uYTp4"):
            refused(caller.get(path, headers={"Authorization": given}), 401, "staff_token_invalid")
        own = {**headers, "Authorization": f"Bearer {mona.token}"}
        refused(caller.post(f"{path}:approve", json={}, headers=own), 403, "approval_by_requester")
    good(mona.call("POST", f"/approvals/{asked['approval_id']}:reject", {"reason": "taken back"}))


def test_the_same_request_waits_once_and_can_be_rejected(
    site: Site, instance: Instance, mona: Colleague, hugo: Colleague
) -> None:
    path = f"/instances/{instance.instance_id}/firm-key:install"
    asked = mona.ask(path)
    problem = refused(hugo.call("POST", path, {"reason": "me too"}), 409, "approval_open")
    assert problem["context"]["approval_id"] == asked["approval_id"]
    waiting = good(hugo.call("GET", "/approvals?waiting=true&limit=100"))["data"]
    assert asked in waiting
    done = good(hugo.call("POST", f"/approvals/{asked['approval_id']}:reject", {"reason": "no"}))
    assert done["state"] == "rejected"
    with site.nothing_changes():
        refused(hugo.approve(asked), 409, "approval_closed")
    assert mona.ask(path)["approval_id"] != asked["approval_id"]


def test_a_request_ends_after_a_day(site: Site, instance: Instance, mona: Colleague, hugo: Colleague) -> None:
    asked = mona.ask(f"/instances/{instance.instance_id}/firm-key:install")
    site.pass_time(24 * 3600)
    assert good(hugo.call("GET", f"/approvals/{asked['approval_id']}"))["state"] == "expired"
    refused(hugo.approve(asked), 409, "approval_expired")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "request_invalid"),
        ({"reason": ""}, 422, "request_invalid"),
        ({"reason": " "}, 422, "reason_missing"),
        ({"reason": "x" * 501}, 422, "request_invalid"),
        ({"reason": "a\nb"}, 422, "input_invalid"),
    ],
)
def test_request_without_a_fit_reason_is_refused(
    site: Site, instances: dict[str, Instance], mona: Colleague, body: dict[str, Any], status: int, code: str
) -> None:
    with site.nothing_changes():
        path = f"/instances/{instances['dedicated'].instance_id}/firm-key:install"
        refused(mona.call("POST", path, body), status, code)


@pytest.mark.parametrize(
    ("effect_ids", "month", "status", "code"),
    [
        ([], "2026-03", 422, "request_invalid"),
        ([f"eff_{n}" for n in range(501)], "2026-03", 422, "request_invalid"),
        (["eff_0"], "2026-13", 422, "input_invalid"),
        (["eff_0"], "March", 422, "request_invalid"),
        (["eff_0", "eff_0"], "2026-03", 422, "input_invalid"),
        (["eff_0"], "2026-03", 404, "effect_not_found"),
    ],
)
def test_correction_of_nothing_is_refused(
    site: Site,
    instances: dict[str, Instance],
    mona: Colleague,
    effect_ids: list[str],
    month: str,
    status: int,
    code: str,
) -> None:
    body = {"month": month, "effect_ids": effect_ids, "reason": "x"}
    with site.nothing_changes():
        refused(
            mona.call("POST", f"/instances/{instances['dedicated'].instance_id}/quota:correct", body),
            status,
            code,
        )


def test_correction_of_another_instances_entry_finds_nothing(
    site: Site, instance: Instance, instances: dict[str, Instance], mona: Colleague
) -> None:
    activate(instance)
    effect = instance.ledger("activations")[0]["effect_id"]
    body = {"month": "2026-03", "effect_ids": [effect], "reason": "x"}
    with site.nothing_changes():
        path = f"/instances/{instances['dedicated'].instance_id}/quota:correct"
        refused(mona.call("POST", path, body), 404, "effect_not_found")


def test_token_from_before_people_reads_and_neither_asks_nor_approves(
    site: Site, instance: Instance, mona: Colleague
) -> None:
    old = Colleague(site, "admin")
    with closing(sqlite3.connect(site.settings.data_dir / "platform.db")) as connection, connection:
        connection.execute("UPDATE staff_token SET person_id = NULL WHERE token_id = ?", (old.token_id,))
    assert good(old.call("GET", "/instances?limit=1"))
    asked = mona.ask(f"/instances/{instance.instance_id}/firm-key:install")
    with site.nothing_changes():
        refused(old.approve(asked), 403, "staff_person_missing")
        path = f"/instances/{instance.instance_id}/firm-key:install"
        refused(old.call("POST", path, {"reason": "x"}), 403, "staff_person_missing")


def test_rotated_token_works_with_both_secrets_for_a_day(site: Site, hugo: Colleague) -> None:
    worker = Colleague(site, "operator")
    token_id = worker.token_id
    turned = good(hugo.call("POST", f"/staff-tokens/{token_id}:rotate", {}))
    old, worker.token = worker.token, turned["secret"]
    before = Colleague.__new__(Colleague)
    before.site, before.token = site, old
    site.pass_time(24 * 3600 - 1)
    for each in (worker, before):
        assert good(each.call("GET", "/editions"))
    site.pass_time(1)
    refused(before.call("GET", "/editions"), 401, "staff_token_invalid")
    assert good(worker.call("GET", "/editions"))
    with site.nothing_changes():
        path = f"/staff-tokens/{token_id}:rotate"
        refused(hugo.call("POST", path, {"overlap_hours": 169}), 422, "request_invalid")
        refused(worker.call("POST", path, {}), 403, "staff_role_insufficient")
        refused(hugo.call("POST", "/staff-tokens/stk_0:rotate", {}), 404, "staff_token_not_found")
    good(hugo.call("POST", f"/staff-tokens/{token_id}:revoke"))
    refused(worker.call("GET", "/editions"), 401, "staff_token_invalid")
    refused(hugo.call("POST", f"/staff-tokens/{token_id}:rotate", {}), 409, "staff_token_ended")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"person": None}, "request_invalid"),
        ({"person": "mo na"}, "input_invalid"),
        ({"person": "Local"}, "person_local"),
        ({"role": "root"}, "request_invalid"),
    ],
)
def test_token_that_cannot_be_had_is_refused(
    site: Site, hugo: Colleague, changed: dict[str, str | None], code: str
) -> None:
    body = {"name": "x", "person": "x@wops.example", "role": "operator", **changed}
    given = {name: value for name, value in body.items() if value is not None}
    with site.nothing_changes():
        refused(hugo.call("POST", "/staff-tokens", given), 422, code)


def test_erased_person_is_gone_and_so_are_his_tokens(site: Site, mona: Colleague, hugo: Colleague) -> None:
    name = f"{new_id('victor')}@wops.example"
    victor = Colleague(site, "operator", name)
    people = site.listed("/people")
    (person,) = [each for each in people if each["name"] == name]
    asked = mona.ask(f"/people/{person['person_id']}:erase")
    site.finish(good(hugo.approve(asked))["operation_id"])
    refused(victor.call("GET", "/editions"), 401, "staff_token_invalid")
    (after,) = [each for each in site.listed("/people") if each["person_id"] == person["person_id"]]
    assert (after["name"], after["erased_at"] is None) == (None, False)
    assert name not in str(site.dump()["platform"])
    with site.nothing_changes():
        answer = mona.call("POST", f"/people/{person['person_id']}:erase", {"reason": "x"})
        refused(answer, 409, "person_erased")
        refused(mona.call("POST", "/people/local:erase", {"reason": "x"}), 422, "person_local")
        refused(mona.call("POST", "/people/per_0:erase", {"reason": "x"}), 404, "person_not_found")
