"""Cancelling a transfer by HTTP: by the vendor's system and by its holder, while a slow box has not begun with it."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.ids import new_id
from tests.api.site import Instance, Site, good, refused
from tests.api.slow_box import finish_all, keep_busy, transfer_body, warm_up
from tests.service.wait import wait_until


@pytest.fixture(scope="module")
def slow(slow_site: Site) -> Instance:
    instance = slow_site.add_instance("high_performance", "slow-cancel")
    warm_up(instance)
    return instance


def reserved(slow: Instance, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
    """What is answered to these, which wait."""
    return [good(answer, 202) for answer in keep_busy(slow, *bodies)]


def test_vendor_cancels_what_waits_and_nothing_was_counted(slow: Instance) -> None:
    body = transfer_body(slow, 3)
    before = slow.meter("activations")
    (waiting,) = reserved(slow, body)
    calls = slow.meter("web_service_calls")["used"]
    answer = slow.call("POST", f"/transfers/{waiting['transfer_id']}:cancel")
    cancelled = good(answer)
    assert (cancelled["state"], cancelled["reason"], cancelled["queue"]) == ("rolled_back", "cancelled", None)
    assert "idempotency-replayed" not in answer.headers
    assert {each["pending_transfer"] for each in slow.licenses(body["ticket"])} == {None}
    assert slow.meter("web_service_calls")["used"] == calls + 1
    ledger = {row["reference"]: row["subject"] for row in slow.ledger("web_service_calls")}
    assert ledger[answer.headers["request-id"]] == "cancelTransfer"

    again = slow.call("POST", f"/transfers/{waiting['transfer_id']}:cancel")
    assert good(again) == cancelled
    assert again.headers["idempotency-replayed"] == "true"
    assert slow.meter("web_service_calls")["used"] == calls + 1
    finish_all(slow)
    assert slow.meter("activations")["used"] == before["used"] + 3, "the two ahead of it, and nothing else"

    anew = good(slow.call("POST", "/transfers", body), 202)
    assert anew["transfer_id"] != waiting["transfer_id"]
    finish_all(slow)
    assert slow.meter("activations")["used"] == before["used"] + 6
    slow.check_books()


def test_cancelling_leaves_an_entry_with_who_did_it(slow_site: Site, slow: Instance) -> None:
    bodies = [transfer_body(slow), transfer_body(slow)]
    first, second = reserved(slow, *bodies)
    answers = [
        slow.call("POST", f"/transfers/{first['transfer_id']}:cancel"),
        slow.gate("POST", f"/transfers/{second['transfer_id']}:cancel", {"ticket": second["ticket"]}),
    ]
    expected = [("cancelTransfer", "client"), ("cancelHolderTransfer", "holder")]
    for answer, (action, kind) in zip(answers, expected, strict=True):
        good(answer)
        query = {
            "instance_id": slow.instance_id,
            "request_id": answer.headers["request-id"],
            "action": action,
        }
        (entry,) = good(slow_site.admin("GET", "/audit", params=query))["data"]
        assert (entry["type"], entry["actor"]["kind"]) == ("transfer.rolled_back", kind)
        assert not any(body["ticket"] in str(entry) for body in bodies)
    finish_all(slow)


def test_holder_shows_the_ticket_or_a_context(slow: Instance) -> None:
    bodies = {"ticket": transfer_body(slow), "context": transfer_body(slow)}
    stranger = {"context": slow.device().context(), "ticket": slow.sell()}
    found = reserved(slow, *bodies.values())
    calls = slow.meter("web_service_calls")["used"]
    for (proof, body), waiting in zip(bodies.items(), found, strict=True):
        path = f"/transfers/{waiting['transfer_id']}:cancel"
        refused(slow.gate("POST", path, stranger), 404, "transfer_not_found")
        refused(slow.gate("POST", path, {}), 422, "request_invalid")
        cancelled = good(slow.gate("POST", path, {proof: body[proof]}))
        assert (cancelled["reason"], cancelled["ticket"]) == ("cancelled", None)
    assert slow.meter("web_service_calls")["used"] == calls
    finish_all(slow)


def test_update_that_is_there_is_not_cancelled(slow: Instance) -> None:
    body = transfer_body(slow)
    path = f"/transfers/{good(slow.call('POST', '/transfers', body), 202)['transfer_id']}"
    finish_all(slow)
    refused(slow.call("POST", f"{path}:cancel"), 409, "transfer_issued")
    refused(slow.gate("POST", f"{path}:cancel", {"ticket": body["ticket"]}), 409, "transfer_issued")
    assert good(slow.call("GET", path))["state"] == "issued"


def test_job_that_runs_is_let_finish(slow: Instance) -> None:
    started = good(slow.call("POST", "/transfers", transfer_body(slow, 3)), 202)
    path = f"/transfers/{started['transfer_id']}"
    wait_until(lambda: good(slow.call("GET", path))["queue"]["state"] == "running", "the box to begin")
    problem = refused(slow.call("POST", f"{path}:cancel"), 409, "job_running")
    assert problem["retryable"]
    finish_all(slow)
    assert good(slow.call("GET", path))["state"] == "issued"


def test_same_key_cancels_once(slow: Instance) -> None:
    (waiting,) = reserved(slow, transfer_body(slow))
    path, headers = f"/transfers/{waiting['transfer_id']}:cancel", {"Idempotency-Key": new_id("key")}
    first = slow.call("POST", path, headers=headers)
    assert good(first) == good(slow.call("POST", path, headers=headers))
    finish_all(slow)


def test_unknown_transfer_is_not_found(slow: Instance) -> None:
    refused(slow.call("POST", "/transfers/trf_0:cancel"), 404, "transfer_not_found")
    shown = {"ticket": slow.sell()}
    refused(slow.gate("POST", "/transfers/trf_0:cancel", shown), 404, "transfer_not_found")
