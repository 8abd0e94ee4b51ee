"""`wops admin operation` against a running platform."""

from __future__ import annotations

from tests.integration.app.command.platform_process import PlatformProcess, wops, wops_json


def test_operation_is_listed_shown_watched_and_its_end_decides_nothing_more(
    platform: PlatformProcess,
) -> None:
    at = ("--data-dir", str(platform.data_dir))
    customer = wops_json("admin", "customer", "add", "newcomer", *at)
    order = ("--customer", customer["customer_id"], "--edition", "dedicated")
    instance = wops_json("admin", "instance", "add", "newcomer-one", *order, *at)
    (listed,) = wops_json("admin", "operation", "list", *at)
    assert (listed["object_id"], listed["state"]) == (instance["instance_id"], "succeeded")
    key = listed["operation_id"]
    assert wops_json("admin", "operation", "show", key, *at)["steps_done"] == 5
    log = wops_json("admin", "operation", "log", key, *at)
    assert (log[0]["event"], log[-1]["event"]) == ("queued", "succeeded")
    watched = wops("admin", "operation", "watch", key, *at)
    assert watched.returncode == 0
    assert "step_done  create_database" in watched.stderr
    for decision in (
        ("retry",),
        ("recover",),
        ("skip", "--reason", "x y z"),
        ("cancel", "--reason", "x y z"),
    ):
        done = wops("admin", "operation", decision[0], key, *decision[1:], *at)
        assert done.returncode == 1
        assert "operation_state_unfit" in done.stderr
