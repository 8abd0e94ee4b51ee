"""Changes from the command line: with their reason, of what is named and nothing else, and by two people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.core.clock import SystemClock
from app.core.net import ApiSession, NetRejected
from tests.integration.app.command.platform_process import PlatformProcess, running, start, wops, wops_json
from tests.service.pki import issue
from tests.service.wait import wait_until

At = tuple[str, str]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    with running(tmp_path_factory.mktemp("platform") / "data", "--demo") as filled:
        assert wops("demo", *filled.at).returncode == 0
        yield filled


@pytest.fixture(scope="module")
def api(platform: PlatformProcess) -> Iterator[ApiSession]:
    with ApiSession("http://control", socket=platform.data_dir / "control.sock") as session:
        yield session


def _instance_id(api: ApiSession, name: str) -> str:
    return next(
        str(each["instance_id"]) for each in api.get_all("/admin/v1/instances") if each["name"] == name
    )


def _reasons(api: ApiSession, action: str, **query: str) -> list[Any]:
    return [each["reason"] for each in api.get_all("/admin/v1/audit", action=action, **query)]


def test_reason_of_a_change_stands_in_the_audit_log(at: At, api: ApiSession) -> None:
    why = "Störung 4711: 100 % [dicht] – 漢字"
    wops_json("admin", "instance", "freeze", "demo-datacenter", "--reason", why, *at)
    wops_json("admin", "instance", "unfreeze", "demo-datacenter", *at)
    assert why in _reasons(api, "freezeInstance")
    assert why not in _reasons(api, "unfreezeInstance")
    wops_json("admin", "client", "add", "demo-performance", "why", "--reason", why, *at)
    assert why in _reasons(api, "createClient", instance_id=_instance_id(api, "demo-performance"))
    wrong = wops("admin", "instance", "freeze", "demo-datacenter", "--reason", "a\nb", *at)
    assert (wrong.returncode, "Wops-Reason" in wrong.stderr) == (1, True)


def test_name_of_a_customer_is_changed_and_shown_as_it_was_typed(at: At) -> None:
    made = wops_json("admin", "customer", "add", "odd", "--display-name", "ACME [bold]X", *at)
    assert "ACME [bold]X" in wops("admin", "customer", "list", *at).stdout
    done = wops("admin", "customer", "change", "odd", "--display-name", "[/x] :smile: [delete all]", *at)
    assert (done.returncode, done.stderr) == (0, "")
    assert "  [/x] :smile: [delete all]\n" in done.stdout
    listed = wops("admin", "customer", "list", *at)
    assert "[/x] :smile: [delete all]" in listed.stdout
    by_id = wops_json("admin", "customer", "change", made["customer_id"], "--display-name", "Odd", *at)
    assert (by_id["customer_id"], by_id["display_name"]) == (made["customer_id"], "Odd")
    nobody = wops("admin", "customer", "change", "nobody", "--display-name", "X", *at)
    assert (nobody.returncode, "There is no customer nobody" in nobody.stderr) == (1, True)


def test_access_that_is_not_named_stays(at: At) -> None:
    change = ("admin", "access", "set", "demo-dedicated")
    networks = ("--network", "192.0.2.0/24", "--network", "0.0.0.0/0", "--confirm-wide-networks")
    scopes = ("--network-scope", "orders", "--network-scope", "read")
    first = wops_json(*change, "--method", "network", "--mode", "any", *networks, *scopes, *at)
    assert (first["mode"], first["methods"]) == ("any", ["network"])
    assert (first["networks"], first["network_scopes"]) == (["192.0.2.0/24", "0.0.0.0/0"], ["orders", "read"])
    both = wops_json(*change, "--method", "network", "--method", "basic", *at)
    assert {**both, "methods": ["network"], "version": first["version"]} == first
    assert both["methods"] == ["basic", "network"]
    less = wops_json(*change, "--network-scope", "licenses", *at)
    assert {**less, "network_scopes": ["orders", "read"], "version": both["version"]} == both
    narrow = wops_json(*change, "--network", "192.0.2.7", "--mode", "all", *at)
    assert (narrow["mode"], narrow["networks"]) == ("all", ["192.0.2.7/32"])
    assert narrow["network_scopes"] == ["licenses"]
    alone = wops_json(*change, "--method", "basic", *at)
    assert (alone["methods"], alone["networks"], alone["network_scopes"]) == (["basic"], [], [])
    again = wops_json(*change, "--method", "network", "--network", "192.0.2.0/24", *at)
    assert again["network_scopes"] == ["read"]
    nothing = wops(*change, *at)
    assert (nothing.returncode, "--close" in nothing.stderr) == (1, True)
    assert wops(*change, "--close", "--method", "basic", *at).returncode == 1
    assert wops_json("admin", "access", "show", "demo-dedicated", *at) == again


def test_access_is_closed_only_when_that_is_meant(at: At) -> None:
    change = ("admin", "access", "set", "demo-availability")
    careful = wops(*change, "--close", *at)
    assert (careful.returncode, "would_lock_out_everybody" in careful.stderr) == (1, True)
    closed = wops_json(*change, "--close", "--force", *at)
    assert (closed["methods"], closed["networks"]) == ([], [])


def test_client_is_limited_shut_out_let_in_and_removed(at: At, tmp_path: Path) -> None:
    client = ("admin", "client")
    limits = ("--expires-in-days", "30", "--rate-per-second", "3", "--burst", "7")
    made = wops_json(*client, "add", "demo-performance", "crm", *limits, *at)["client"]
    assert (made["rate_per_second"], made["burst"]) == (3, 7)
    assert made["expires_at"] > made["created_at"]
    which = ("demo-performance", made["client_id"])
    assert wops_json(*client, "disable", *which, *at)["disabled_at"] is not None
    assert wops_json(*client, "enable", *which, *at)["disabled_at"] is None
    pem = tmp_path / "crm.pem"
    pem.write_text(issue(not_before=SystemClock().now()).pem)
    known = wops_json(*client, "certificate", "add", *which, str(pem), *at)
    assert known["kind"] == "fingerprint"
    (listed,) = (
        each
        for each in wops_json(*client, "list", "demo-performance", *at)
        if each["client_id"] == made["client_id"]
    )
    assert [each["certificate_id"] for each in listed["certificates"]] == [known["certificate_id"]]
    gone = wops_json(*client, "certificate", "remove", *which, known["certificate_id"], *at)
    assert gone == {"removed": known["certificate_id"]}
    assert wops_json(*client, "remove", *which, "--force", *at) == {"removed": made["client_id"]}
    late = wops(*client, "remove", *which, *at)
    assert (late.returncode, "client_not_found" in late.stderr) == (1, True)


def test_refused_callers_are_listed(tmp_path: Path) -> None:
    platform = start(tmp_path / "data", "--demo")
    stranger = ApiSession(platform.address, basic=("demo-performance.erp", "wrong"))
    with stranger, pytest.raises(NetRejected):
        stranger.get("/demo-performance/api/v1/items")
    # Ending, it writes down what it would write within a minute.
    platform.terminate()
    again = start(platform.data_dir)
    try:
        failures = ("admin", "access", "failures", "demo-performance", *again.at)
        (found,) = wops_json(*failures)
        assert (found["client"], found["code"]) == ("demo-performance.erp", "credentials_invalid")
        assert "demo-performance.erp" in wops(*failures).stdout
    finally:
        again.terminate()


def test_contract_that_has_not_begun_is_withdrawn(at: At) -> None:
    add = ("admin", "contract", "add", "demo-performance", "--edition", "high_performance")
    later = f"{SystemClock().now().year + 1}-01-01T00:00:00Z"
    made = wops_json(*add, "--from", later, *at)["contract_id"]
    withdraw = ("admin", "contract", "withdraw", "demo-performance")
    assert wops_json(*withdraw, made, *at) == {"withdrawn": made}
    (left,) = wops_json("admin", "contract", "list", "demo-performance", *at)
    begun = wops(*withdraw, left["contract_id"], *at)
    assert (begun.returncode, "contract_begun" in begun.stderr) == (1, True)


def _approve(asked: dict[str, Any], at: At) -> None:
    done = wops_json("admin", "approval", "approve", asked["approval_id"], "--version", "1", *at)
    assert done["state"] == "approved"


def _succeeded(kind: str, at: At) -> bool:
    found = wops_json("admin", "operation", "list", "--state", "succeeded", *at)
    return kind in [each["kind"] for each in found]


def test_end_of_a_contract_is_taken_back(platform: PlatformProcess, at: At) -> None:
    mona = platform.remote(
        wops_json("admin", "token", "add", "end", "--person", "mona@wops.example", *at)["secret"]
    )
    end = ("admin", "instance", "end", "demo-availability", "--reason", "[/x] moves away")
    _approve(wops_json(*end, *mona), at)
    shown = ("admin", "instance", "show", "demo-availability")
    wait_until(lambda: wops_json(*shown, *at)["state"] == "ended", "its end")
    wait_until(lambda: _succeeded("end_instance", at), "its last export")
    back = wops_json(*("admin", "instance", "reinstate", "demo-availability"), "--state", "frozen", *at)
    assert (back["state"], back["retained_until"]) == ("frozen", None)


def test_two_people_correct_a_quota_and_install_a_firm_key(platform: PlatformProcess, at: At) -> None:
    mona = platform.remote(
        wops_json("admin", "token", "add", "quota", "--person", "mona@wops.example", *at)["secret"]
    )
    key = ("admin", "firm-key", "install", "demo-dedicated", "--reason", "box [/x] replaced")
    told = wops(*key, *mona)
    (waiting,) = wops_json("admin", "approval", "list", *at)
    assert (told.returncode, waiting["action"]) == (0, "installFirmKey")
    assert "box [/x] replaced" in told.stdout
    assert f"wops admin approval approve {waiting['approval_id']}" in told.stderr
    listed = wops("admin", "approval", "list", *at)
    assert "box [/x] replaced" in listed.stdout
    asked = wops("admin", "approval", "approve", waiting["approval_id"], *at, stdin="n\n")
    assert (asked.returncode, "box [/x] replaced" in asked.stdout) == (1, True)
    agreed = wops("admin", "approval", "approve", waiting["approval_id"], *at, stdin="y\n")
    assert (agreed.returncode, agreed.stderr) == (0, "")
    wait_until(lambda: _succeeded("install_firm_key", at), "the key to be installed")
    assert wops_json("admin", "approval", "list", *at) == []
    assert waiting["approval_id"] in wops("admin", "approval", "list", "--all", *at).stdout

    month = wops_json("admin", "instance", "show", "demo-datacenter", *at)["usage"]["period"]
    ledger = ("admin", "quota", "ledger", "demo-datacenter", "--month", month)
    entries = wops_json(*ledger, "--meter", "activations", *at)
    counted = [each["effect_id"] for each in entries if each["phase"] == "counted"]
    assert len(counted) == 4
    correct = ("admin", "quota", "correct", "demo-datacenter", "--month", month, "--reason", "twice")
    _approve(wops_json(*correct, "--effect", counted[0], "--effect", counted[1], *mona), at)
    wait_until(lambda: _succeeded("correct_quota", at), "the correction")
    meters = wops_json("admin", "instance", "show", "demo-datacenter", *at)["usage"]["meters"]
    assert [(each["used"], each["voided"]) for each in meters if each["meter"] == "activations"] == [(2, 2)]


def test_instance_is_shown_without_its_usage_where_that_is_refused(platform: PlatformProcess, at: At) -> None:
    role = ("--role", "support")
    made = wops_json("admin", "token", "add", "look", "--person", "sue@wops.example", *role, *at)
    shown = wops_json("admin", "instance", "show", "demo-performance", *platform.remote(made["secret"]))
    assert (shown["name"], shown["usage"]) == ("demo-performance", None)
    assert shown["usage_refused"] == "support_access_missing"
    assert "demo-performance" in wops("admin", "instance", "show", "demo-performance", *at).stdout
