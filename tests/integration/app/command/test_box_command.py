"""Boxes, pools and firm keys from the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509

from tests.integration.app.command.platform_process import PlatformProcess, running, wops, wops_json
from tests.service.wait import wait_until

At = tuple[str, str]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    with running(tmp_path_factory.mktemp("platform") / "data", "--demo") as filled:
        assert wops("demo", *filled.at).returncode == 0
        yield filled


@pytest.fixture(scope="module")
def mona(platform: PlatformProcess, at: At) -> tuple[str, ...]:
    """Somebody else than the local operator."""
    made = wops_json(
        *("admin", "token", "add", "boxes", "--role", "admin"), "--person", "mona@wops.example", *at
    )
    return platform.remote(made["secret"])


def approved(at: At, mona: tuple[str, ...], *asked: str) -> dict[str, Any]:
    """Mona asks, the local operator approves; the operation at its end."""
    request = wops_json("admin", *asked, "--reason", "ticket [4711]", *mona)
    path = ("admin", "approval", "approve", request["approval_id"], "--version", str(request["version"]))
    started = wops_json(*path, *at)["operation_id"]

    def ended() -> dict[str, Any] | None:
        found = wops_json("admin", "operation", "show", started, *at)
        return dict(found) if found["finished_at"] else None

    return wait_until(ended, "the operation to end")


def test_box_joins_is_lent_returned_and_leaves(at: At, mona: tuple[str, ...]) -> None:
    add = (
        "box",
        "add",
        "shared-box-2",
        "--pool",
        "shared",
        "--operation-time-ms",
        "2",
        "--fault",
        "busy=0.01",
    )
    assert approved(at, mona, *add)["state"] == "succeeded"
    box = wops_json("admin", "box", "show", "shared-box-2", *at)
    assert (box["condition"], box["operation_time_ms"], box["faults"]["busy"]) == ("ready", 2, 0.01)
    assert box["firm_codes"] == wops_json("admin", "box", "show", "shared-box-1", *at)["firm_codes"]
    table = wops("admin", "box", "list", *at).stdout.splitlines()
    assert ["shared-box-2", "shared", "shared", "software", "active", "ready"] in [
        line.split()[:6] for line in table
    ]
    changed = wops_json("admin", "box", "change", "shared-box-2", "--jitter", "0.5", *at)
    assert (changed["jitter"], changed["operation_time_ms"]) == (0.5, 2)
    assert wops_json("admin", "box", "drain", "shared-box-2", *at)["condition"] == "drained"
    assert wops_json("admin", "box", "resume", "shared-box-2", *at)["condition"] == "ready"
    assert wops_json("admin", "box", "retry", "shared-box-2", *at)["condition"] == "ready"
    lend = ("box", "lend", "shared-box-2", "--to", "demo-performance", "--hours", "3")
    assert approved(at, mona, *lend)["state"] == "succeeded"
    lent = wops_json("admin", "box", "show", "shared-box-2", *at)
    assert (lent["works_for"], lent["lent_to"]) == ("demo-performance", "demo-performance")
    wops_json("admin", "box", "return", "shared-box-2", *at)
    wait_until(
        lambda: wops_json("admin", "box", "show", "shared-box-2", *at)["lent_to"] is None,
        "the box to be back",
    )
    assert approved(at, mona, "box", "remove", "shared-box-2")["state"] == "succeeded"
    gone = wops("admin", "box", "show", "shared-box-2", *at)
    assert (gone.returncode, "box_unknown" in gone.stderr) == (1, True)
    last = wops("admin", "box", "remove", "shared-box-1", "--reason", "old", *at)
    assert (last.returncode, "box_last" in last.stderr) == (1, True)


def test_transactions_are_loaded(at: At) -> None:
    name = "demo-performance-box-1"
    wops_json("admin", "box", "change", name, "--transactions", "standard", *at)
    assert wops_json("admin", "box", "load", name, "500", *at)["transactions_left"] == 500
    refused = wops("admin", "box", "load", "shared-box-1", "500", *at)
    assert (refused.returncode, "box_spec_invalid" in refused.stderr) == (1, True)


def test_pools_and_queues_are_shown(at: At) -> None:
    assert {each["name"] for each in wops_json("admin", "pool", "list", *at)} >= {
        "shared",
        "demo-performance",
    }
    shown = wops("admin", "pool", "show", "shared", *at).stdout
    assert "expected_wait_seconds" in shown
    assert "caused_by_others_seconds" in shown
    (share, *_) = wops_json("admin", "pool", "show", "shared", *at)["instances"]
    assert share["instance_id"] in shown
    assert wops_json("admin", "pool", "queue", "demo-dedicated", *at)["pool"] == "shared"


def test_keys_are_shown_rotated_and_on_record(at: At, mona: tuple[str, ...]) -> None:
    instance = wops_json("admin", "instance", "show", "demo-performance", *at)
    code = str(instance["firm_code"])
    assert code in wops("admin", "firm-key", "list", *at).stdout
    before = wops_json("admin", "firm-key", "show", code, *at)
    operation = approved(at, mona, "firm-key", "rotate", code)
    after = wops_json("admin", "firm-key", "show", code, *at)
    assert after["former"][0]["fingerprint"] == before["fingerprint"] != after["fingerprint"]
    pem = wops("admin", "firm-key", "certificate", code, *at).stdout
    assert pem == after["certificate"]
    assert len(x509.load_pem_x509_certificates(pem.encode())) == 2
    ceremony = ("admin", "firm-key", "ceremony", operation["operation_id"])
    record = wops_json(*ceremony, *at)
    for language, title in (("de", "Protokoll einer Schlüsselzeremonie"), ("en", "Record of a key ceremony")):
        text = wops(*ceremony, "--lang", language, *at).stdout
        assert text.startswith(title)
        for said in (record["sha256"], after["fingerprint"], "mona@wops.example", "ticket [4711]", "local"):
            assert said in text
    wrong = wops(*ceremony, "--lang", "fr", *at)
    assert (wrong.returncode, "lang" in wrong.stderr or "de or en" in wrong.stderr) == (1, True)


def test_token_and_fault_are_given_whole(at: At) -> None:
    add = ("admin", "box", "add", "x-box", "--pool", "shared", "--reason", "x")
    half = wops(*add, "--driver", "pkcs11", "--module", "/usr/lib/x.so", *at)
    assert (half.returncode, "--pin-file" in half.stderr) == (1, True)
    odd = wops(*add, "--fault", "busy", *at)
    assert (odd.returncode, "busy=0.01" in odd.stderr) == (1, True)
    unknown = wops(*add, "--fault", "smoke=0.5", *at)
    assert (unknown.returncode, "request_invalid" in unknown.stderr) == (1, True)
