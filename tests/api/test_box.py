"""Boxes, pools and loans through the admin API, with a real gateway behind."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from app.core.ids import new_id
from fsb_gateway.error import FsbUnavailable
from tests.api.conftest import MakeInstance
from tests.api.lifecycle import approve_asked
from tests.api.site import Instance, Site, good, refused
from tests.service.wait import wait_until


@pytest.fixture
def twin(make_instance: MakeInstance) -> Instance:
    """An instance with two boxes of its own."""
    return make_instance("high_availability")


def read(site: Site, box: str) -> dict[str, Any]:
    return dict(good(site.admin("GET", f"/boxes/{box}")))


def change(site: Site, verb: str, box: str, body: Any = None) -> httpx2.Response:
    """Change a box as it was read a moment ago."""
    etag = site.admin("GET", f"/boxes/{box}").headers["ETag"]
    method = "POST" if verb else "PATCH"
    return site.admin(method, f"/boxes/{box}{verb}", body, headers={"If-Match": etag})


def approved(site: Site, path: str, body: dict[str, Any], *, state: str = "succeeded") -> dict[str, Any]:
    asked = good(site.admin("POST", path, {"reason": "ticket 4711", **body}), 202)
    return approve_asked(site, asked, state=state)


def new_box(site: Site, pool: str, **more: Any) -> str:
    """A box that has joined a pool."""
    name = f"b-{new_id('b')[-10:]}"
    approved(site, "/boxes", {"name": name, "pool": pool, **more})
    return name


def activate(instance: Instance) -> None:
    """Have a licence programmed, in a new container."""
    device, ticket = instance.device(), instance.sell()
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    device.apply(good(instance.gate("POST", "/transfers", body), 201)["update"])


def told(site: Site, kind: str, subject: str) -> list[dict[str, Any]]:
    query = {"type": kind, "object": subject}
    return list(good(site.admin("GET", "/audit", params=query))["data"])


def test_box_shows_what_is_wanted_beside_what_there_is(
    site: Site, twin: Instance, make_instance: MakeInstance
) -> None:
    activate(twin)
    instance = make_instance()
    assert read(site, "shared-box-1")["owner"] is None
    assert instance.firm_code in read(site, "shared-box-1")["firm_codes"]
    box = read(site, f"{twin.name}-box-1")
    assert (box["pool"], box["works_for"], box["owner"]) == (twin.name, twin.name, twin.instance_id)
    assert (box["condition"], box["state"], box["firm_codes"]) == ("ready", "active", [twin.firm_code])
    refused(site.admin("GET", "/boxes/nothing"), 404, "box_unknown")


def test_pool_shows_each_instances_share(site: Site, twin: Instance) -> None:
    activate(twin)
    pool = good(site.admin("GET", f"/pools/{twin.name}"))
    assert (pool["owner"], pool["ready_boxes"], pool["reason"]) == (twin.instance_id, 2, None)
    assert pool["without_box_since"] is None
    (share,) = pool["instances"]
    assert (share["instance_id"], share["jobs_done"] >= 1) == (twin.instance_id, True)
    refused(site.admin("GET", "/pools/nothing"), 404, "pool_unknown")
    queue = good(twin.admin("GET", "/queue"))
    assert (queue["pool"], queue["jobs"], queue["finished"]["jobs"] >= 1) == (twin.name, [], True)
    refused(site.admin("GET", "/instances/ins_0/queue"), 404, "instance_not_found")


def test_queue_of_an_instance_that_has_sent_nothing_yet_names_its_pool(
    site: Site, instance: Instance
) -> None:
    assert good(instance.admin("GET", "/queue"))["pool"] == "shared"


def test_drained_box_takes_nothing_until_it_is_resumed(site: Site, twin: Instance) -> None:
    names = [f"{twin.name}-box-{n}" for n in (1, 2)]
    for name in names:
        drained = good(change(site, ":drain", name))
        assert (drained["condition"], drained["drained_by"]) == ("drained", "staff")
    assert good(site.admin("GET", f"/pools/{twin.name}"))["ready_boxes"] == 0
    for name in names:
        resumed = good(change(site, ":resume", name))
        assert (resumed["condition"], resumed["drained_by"]) == ("ready", None)
    activate(twin)
    (event,) = told(site, "box.drained", names[0])
    assert event["data"] == {"drained": True, "drained_by": "staff"}
    assert event["before"] == {"drained": False, "drained_by": None}
    stale = site.admin("POST", f"/boxes/{names[0]}:drain", headers={"If-Match": '"1"'})
    refused(stale, 412, "box_version_conflict")
    refused(site.admin("POST", f"/boxes/{names[0]}:drain"), 428, "if_match_missing")


def test_pool_without_a_box_is_told_once_and_shown(site: Site, twin: Instance) -> None:
    names = [f"{twin.name}-box-{n}" for n in (1, 2)]
    for name in names:
        good(change(site, ":drain", name))
    without = wait_until(lambda: told(site, "pool.without_box", twin.name), "the event")
    assert [each["data"]["reason"] for each in without] == ["pool_drained"]
    assert good(site.admin("GET", f"/pools/{twin.name}"))["without_box_since"]
    for name in names:
        good(change(site, ":resume", name))
    wait_until(lambda: told(site, "pool.working", twin.name), "the pool to work again")
    assert len(told(site, "pool.without_box", twin.name)) == 1
    assert good(site.admin("GET", f"/pools/{twin.name}"))["without_box_since"] is None


def test_pace_and_faults_are_changed_while_the_box_works(site: Site, twin: Instance) -> None:
    name = f"{twin.name}-box-1"
    changed = good(change(site, "", name, {"operation_time_ms": 3, "jitter": 0.2, "faults": {"busy": 0.0}}))
    assert (changed["operation_time_ms"], changed["jitter"]) == (3, 0.2)
    (entry,) = told(site, "box.changed", name)
    assert entry["data"] == {"operation_time_seconds": 0.003, "jitter": 0.2}
    assert entry["before"] == {"operation_time_seconds": 0.0, "jitter": 0.0}
    activate(twin)
    refused(change(site, "", name, {"faults": {"busy": 0.7, "timeout": 0.7}}), 422, "box_spec_invalid")
    token = {"module": "/usr/lib/x.so", "label": "t", "pin_file": "/etc/pin"}
    refused(change(site, "", name, {"token": token}), 422, "box_spec_invalid")


def test_loaded_transactions_are_spent_and_warned_of(site: Site, twin: Instance) -> None:
    name = f"{twin.name}-box-1"
    refused(site.admin("POST", f"/boxes/{name}:load", {"number": 5}), 422, "box_spec_invalid")
    good(change(site, "", name, {"transactions": "standard"}))
    key = {"Idempotency-Key": new_id("key")}
    for _ in range(2):
        loaded = good(site.admin("POST", f"/boxes/{name}:load", {"number": 12}, headers=key))
    assert (loaded["transactions_loaded"], loaded["transactions_left"]) == (12, 12)
    good(change(site, ":drain", f"{twin.name}-box-2"))
    for _ in range(11):
        activate(twin)
    wait_until(lambda: told(site, "box.transactions_low", name), "the warning")
    assert read(site, name)["transactions_left"] == 1
    assert read(site, name)["transactions_low"] is True
    good(site.admin("POST", f"/boxes/{name}:load", {"number": 100}))
    wait_until(lambda: told(site, "box.transactions_enough", name), "the end of the warning")
    assert len(told(site, "box.transactions_low", name)) == 1


def test_where_a_token_is_is_said_by_admins_alone(site: Site) -> None:
    token = {"module": "/usr/lib/x.so", "label": "t", "pin_file": "/etc/pin"}
    body = {"name": "token-box", "pool": "shared", "driver": "pkcs11", "token": token, "reason": "a dongle"}
    bearer = {
        "Authorization": f"Bearer {site.new_token('operator')}",
        "Idempotency-Key": new_id("key"),
        "If-Match": '"1"',
    }
    answer = site.call("POST", "/admin/v1/boxes", json=body, headers=bearer)
    refused(answer, 403, "staff_role_insufficient")
    answer = site.call("PATCH", "/admin/v1/boxes/shared-box-1", json={"token": token}, headers=bearer)
    refused(answer, 403, "staff_role_insufficient")
    refused(site.admin("POST", "/boxes", {**body, "driver": "software"}), 422, "box_spec_invalid")


def test_box_joins_with_all_keys_of_its_pool_works_and_leaves(site: Site, twin: Instance) -> None:
    name = new_box(site, twin.name, operation_time_ms=1)
    box = read(site, name)
    assert (box["owner"], box["firm_codes"], box["condition"]) == (
        twin.instance_id,
        [twin.firm_code],
        "ready",
    )
    for n in (1, 2):
        good(change(site, ":drain", f"{twin.name}-box-{n}"))
    activate(twin)
    assert read(site, name)["jobs_done"] >= 1
    good(change(site, ":resume", f"{twin.name}-box-1"))
    gone = approved(site, f"/boxes/{name}:remove", {})
    assert gone["kind"] == "remove_box"
    refused(site.admin("GET", f"/boxes/{name}"), 404, "box_unknown")
    assert name not in [each["name"] for each in good(site.admin("GET", "/boxes"))]
    activate(twin)


def test_what_cannot_join_or_leave_is_refused_when_it_is_asked_for(site: Site, twin: Instance) -> None:
    ask = {"name": f"{twin.name}-box-1", "pool": twin.name, "reason": "more"}
    refused(site.admin("POST", "/boxes", ask), 409, "box_name_taken")
    refused(site.admin("POST", "/boxes", {**ask, "name": "x-1", "pool": "nobodys"}), 404, "pool_unknown")
    refused(site.admin("POST", "/boxes", {**ask, "name": "No Name"}), 422, "box_spec_invalid")
    why = {"reason": "worn out"}
    refused(site.admin("POST", "/boxes/nothing:remove", why), 404, "box_unknown")
    good(change(site, ":drain", f"{twin.name}-box-2"))
    refused(site.admin("POST", f"/boxes/{twin.name}-box-1:remove", why), 409, "box_last")


def test_repeated_request_gets_its_answer_even_if_it_would_be_refused_now(site: Site, twin: Instance) -> None:
    name = new_box(site, twin.name)
    key = {"Idempotency-Key": new_id("key")}
    asked = good(site.admin("POST", f"/boxes/{name}:remove", {"reason": "old"}, headers=key), 202)
    approve_asked(site, asked)
    again = site.admin("POST", f"/boxes/{name}:remove", {"reason": "old"}, headers=key)
    assert good(again, 202)["approval_id"] == asked["approval_id"]
    assert again.headers["Idempotency-Replayed"] == "true"


def test_lent_box_works_for_the_borrower_alone_and_comes_back_by_the_clock(own_site: Site) -> None:
    site = own_site
    acme, beta = site.add_instance("dedicated", "acme"), site.add_instance("high_performance", "beta")
    name = new_box(site, "shared")
    approved(site, f"/boxes/{name}:lend", {"to": "beta", "hours": 2})
    box = read(site, name)
    assert (box["works_for"], box["lent_to"], set(box["firm_codes"])) == (
        "beta",
        "beta",
        {acme.firm_code, beta.firm_code},
    )
    good(change(site, ":drain", "beta-box-1"))
    activate(beta)
    done = read(site, name)["jobs_done"]
    assert done >= 1
    activate(acme)
    assert read(site, name)["jobs_done"] == done, "a lent box takes its borrower's jobs only"
    site.pass_time(2 * 3600)
    wait_until(lambda: read(site, name)["lent_to"] is None, "the loan to end")
    box = read(site, name)
    assert (box["works_for"], box["firm_codes"]) == ("shared", [acme.firm_code])
    (lent,), (returned,) = told(site, "box.lent", name), told(site, "box.returned", name)
    assert lent["before"]["lent_to"] is None
    assert (lent["data"]["lent_to"], returned["before"]["lent_to"]) == ("beta", "beta")
    assert returned["actor"]["kind"] == "system"


def test_loan_is_refused_or_ended_early(site: Site, twin: Instance) -> None:
    name = f"{twin.name}-box-1"
    ask = {"to": "shared", "hours": 1, "reason": "help"}
    refused(site.admin("POST", f"/boxes/{name}:lend", {**ask, "to": twin.name}), 422, "loan_unfit")
    refused(site.admin("POST", f"/boxes/{name}:lend", {**ask, "hours": 721}), 422, "request_invalid")
    refused(site.admin("POST", f"/boxes/{name}:return"), 409, "box_state_unfit")
    good(change(site, ":drain", f"{twin.name}-box-2"))
    refused(site.admin("POST", f"/boxes/{name}:lend", ask), 409, "box_last")
    good(change(site, ":resume", f"{twin.name}-box-2"))
    approved(site, f"/boxes/{name}:lend", {"to": "shared", "hours": 1})
    refused(site.admin("POST", f"/boxes/{name}:lend", ask), 409, "box_state_unfit")
    ending = good(site.admin("POST", f"/boxes/{name}:return"), 202)
    site.finish(ending["operation_id"])
    assert read(site, name)["firm_codes"] == [twin.firm_code]


def test_retry_tells_the_gateway_again_and_is_on_record(site: Site, twin: Instance) -> None:
    name = f"{twin.name}-box-1"
    assert good(site.admin("POST", f"/boxes/{name}:retry"))["condition"] == "ready"
    assert len(told(site, "box.retried", name)) == 1
    refused(site.admin("POST", "/boxes/nothing:retry"), 404, "box_unknown")


def test_change_is_kept_while_the_gateway_is_away_and_told_when_it_is_back(
    own_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = own_site
    site.add_instance("dedicated", "acme")
    fsb = site.platform.fsb

    async def away(*_given: object) -> Any:
        raise FsbUnavailable("the gateway is away")

    with monkeypatch.context() as patch:
        for method in ("boxes", "pools", "ensure_box"):
            patch.setattr(fsb, method, away)
        drained = good(change(site, ":drain", "shared-box-1"))
        assert (drained["drained"], drained["condition"], drained["firm_codes"]) == (True, "unknown", [])
        refused(site.admin("GET", "/pools"), 503, "fsb_unavailable")
    wait_until(lambda: read(site, "shared-box-1")["condition"] == "drained", "the gateway to be told")
