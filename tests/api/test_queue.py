"""Where an instance and its transfers stand at the boxes, and who may know it."""

from __future__ import annotations

import math

import pytest

from app.core.ids import InstanceId
from app.operations.line import InstanceRuntime
from tests.api.conftest import MakeInstance
from tests.api.site import USED, Instance, Site, good, refused
from tests.api.slow_box import finish_all, keep_busy, transfer_body, warm_up
from tests.service.wait import wait_until


@pytest.fixture(scope="module")
def pair(slow_site: Site) -> tuple[Instance, Instance]:
    """Two instances that share a slow box."""
    left, right = (slow_site.add_instance("dedicated", name) for name in ("left", "right"))
    warm_up(right)
    return left, right


def test_caller_of_a_slow_box_learns_where_his_transfer_stands(pair: tuple[Instance, Instance]) -> None:
    left, right = pair
    body = transfer_body(left)
    keep_busy(right)
    answer = left.call("POST", "/transfers", body)
    reserved = good(answer, 202)
    queue = reserved["queue"]
    assert (queue["state"], queue["reason"]) == ("waiting", None)
    assert queue["position"] in (1, 2)
    assert 0 < queue["expected_wait_seconds"] <= queue["expected_wait_p95_seconds"]
    assert queue["others_share"] == 1
    assert answer.headers["retry-after"] == str(max(1, math.ceil(queue["expected_wait_seconds"])))

    for path in (answer.headers["location"], f"/left/gateways/v1/transfers/{reserved['transfer_id']}"):
        shown = left.site.call("GET", path, auth=left.auth)
        assert good(shown)["queue"]["state"] in ("waiting", "running")
        assert 1 <= int(shown.headers["retry-after"]) <= 60
    finish_all(left, right)
    done = left.site.call("GET", answer.headers["location"], auth=left.auth)
    assert (good(done)["state"], good(done)["queue"]) == ("issued", None)
    assert "retry-after" not in done.headers


def test_instance_sees_its_own_jobs_and_what_others_cost_it(pair: tuple[Instance, Instance]) -> None:
    left, right = pair
    bodies = [transfer_body(left) for _ in range(2)]
    theirs = [transfer_body(right) for _ in range(2)]
    others = [good(each, 202)["transfer_id"] for each in keep_busy(right, *theirs)]
    mine = [good(left.call("POST", "/transfers", each), 202)["transfer_id"] for each in bodies]
    seen, own = good(left.call("GET", "/queue")), good(left.portal("GET", "/queue"))
    assert [each["transfer_id"] for each in seen["jobs"]] == mine
    assert (seen["waiting"] + seen["running"], seen["unknown"], seen["reason"]) == (2, 0, None)
    positions = [each["position"] for each in seen["jobs"]]
    assert positions == sorted(positions)
    assert seen["position"] > positions[0]
    assert 0 < seen["expected_wait_seconds"] <= seen["expected_wait_p95_seconds"]
    assert 0 < seen["others_share"] < 1
    assert {each["transfer_id"] for each in own["jobs"]} <= set(mine)
    first = seen["jobs"][0]
    assert 0 <= first["caused_by_others_seconds"] <= first["waited_seconds"]
    place = good(left.call("GET", f"/transfers/{mine[-1]}"))["queue"]
    assert place is None or 0 < place["waited_seconds"] < 60
    for answer in (seen, own):
        assert not any(text in str(answer) for text in (*others, right.name, right.instance_id))
    finish_all(left, right)
    finished = good(left.call("GET", "/queue"))["finished"]
    assert finished["jobs"] >= 2
    assert 0 < finished["caused_by_others_seconds"] <= finished["waited_seconds"]
    share = finished["caused_by_others_seconds"] / finished["waited_seconds"]
    assert finished["caused_by_others_share"] == pytest.approx(share, abs=1e-3)


def test_empty_queue_of_an_own_box_says_that_nobody_is_before(slow_site: Site) -> None:
    instance = slow_site.add_instance("high_performance", "alone")
    seen = good(instance.call("GET", "/queue"))
    assert (seen["waiting"], seen["running"], seen["position"], seen["others_share"]) == (0, 0, 0, 0)
    assert (seen["jobs"], seen["reason"]) == ([], None)
    assert (seen["finished"]["jobs"], seen["finished"]["caused_by_others_share"]) == (0, 0)


def test_queue_of_a_fresh_instance_says_that_nobody_works_for_it(own_site: Site) -> None:
    instance = own_site.add_instance("datacenter", "fresh")
    for box in good(own_site.admin("GET", "/boxes")):
        etag = own_site.admin("GET", f"/boxes/{box['name']}").headers["etag"]
        good(own_site.admin("POST", f"/boxes/{box['name']}:drain", headers={"If-Match": etag}))
    for seen in (
        good(instance.portal("GET", "/queue")),
        good(own_site.admin("GET", f"/instances/{instance.instance_id}/queue")),
    ):
        assert (seen["reason"], seen["jobs"]) == ("pool_drained", [])
        assert seen["expected_wait_seconds"] >= 3600


def test_mass_work_lets_interactive_transfers_pass(slow_site: Site) -> None:
    instance = slow_site.add_instance("high_performance", "mass")
    warm_up(instance)
    asked = [transfer_body(instance, priority="batch") for _ in range(2)] + [transfer_body(instance)]
    *batch, urgent = [good(each, 202)["transfer_id"] for each in keep_busy(instance, *asked)]
    order = [each["transfer_id"] for each in good(instance.call("GET", "/queue"))["jobs"]]
    assert order[-3:] == [urgent, *batch]
    finish_all(instance)


def test_priority_is_the_vendors_to_choose(slow_site: Site, pair: tuple[Instance, Instance]) -> None:
    left, _ = pair
    body = transfer_body(left, priority="batch")
    with slow_site.nothing_changes(but=USED):
        problem = refused(left.gate("POST", "/transfers", body), 422, "request_invalid")
        assert [each["pointer"] for each in problem["errors"]] == ["/priority"]
        refused(left.call("POST", "/transfers", {**body, "priority": "urgent"}), 422, "request_invalid")


def test_portal_shows_the_queue_of_every_edition(instances: dict[str, Instance]) -> None:
    for instance in instances.values():
        seen = good(instance.portal("GET", "/queue"))
        assert seen["jobs"] == []
        assert instance.instance_id not in str(seen)


def test_share_of_a_shared_box_is_that_of_the_edition_in_force(make_instance: MakeInstance) -> None:
    for edition, share in (("datacenter", 1), ("dedicated", 2), ("high_performance", 2)):
        assert runtime_of(make_instance(edition)).identity().box_share == share
    instance = make_instance("datacenter")
    instance.contract(edition="dedicated", lines=1)
    line = runtime_of(instance)

    def doubled() -> bool:
        # The contract reaches the instance's database by itself, and its line within a second after that.
        instance.site.pass_time(1)
        return bool(line.identity().box_share == 2)

    wait_until(doubled, "the new contract to reach the line")


def runtime_of(instance: Instance) -> InstanceRuntime:
    return instance.site.platform.runtime(InstanceId(instance.instance_id))
