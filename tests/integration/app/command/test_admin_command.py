"""The life of an instance, servers, contracts, probes and the access doctor from the command line."""

from __future__ import annotations

import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.integration.app.command.platform_process import PlatformProcess, wops, wops_json
from tests.service.wait import wait_until


def _add_instance(
    name: str, customer: str, at: tuple[str, str], *more: str, edition: str = "dedicated"
) -> Any:
    order = ("--customer", customer, "--edition", edition)
    return wops_json("admin", "instance", "add", name, *order, *more, *at)


def _approve(asked: Any, at: tuple[str, str]) -> None:
    done = wops_json("admin", "approval", "approve", asked["approval_id"], "--version", "1", *at)
    assert done["state"] == "approved"


def test_instance_is_frozen_renamed_exported_ended_and_erased(
    platform: PlatformProcess, at: tuple[str, str], customer: str, tmp_path: Path
) -> None:
    made = _add_instance("acme-one", customer, at, "--country", "DE", "--firm-code", "6123456")
    assert (made["country"], made["firm_code"]) == ("DE", 6123456)
    assert wops_json("admin", "instance", "freeze", "acme-one", *at)["state"] == "frozen"
    assert wops_json("admin", "instance", "unfreeze", "acme-one", *at)["state"] == "ready"
    assert wops_json("admin", "instance", "rename", "acme-one", "acme-two", *at)["name"] == "acme-two"
    file = tmp_path / "acme.zip"
    told = wops_json("admin", "instance", "export", "acme-two", "--to", str(file), *at)
    assert told["sha256"] == sha256(file.read_bytes()).hexdigest()
    assert zipfile.ZipFile(file).testzip() is None
    assert wops("admin", "instance", "export", "acme-two", "--to", str(file), *at).returncode == 1
    assert file.stat().st_size == told["size_bytes"]

    mona = wops_json("admin", "token", "add", "desk", "--person", "mona@wops.example", *at)
    remote = platform.remote(mona["secret"])
    key = made["instance_id"]
    _approve(wops_json("admin", "instance", "end", key, "--reason", "left", *remote), at)
    wait_until(lambda: wops_json("admin", "instance", "show", key, *at)["state"] == "ended", "its end")
    wait_until(
        lambda: all(
            each["state"] == "succeeded"
            for each in wops_json("admin", "operation", "list", "--object", key, *at)
        ),
        "all operations to have ended",
    )
    legal = ("--early", "--legal-reason", "request of the customer")
    _approve(wops_json("admin", "instance", "erase", key, "--reason", "asked for", *legal, *remote), at)
    wait_until(
        lambda: wops("admin", "instance", "certificate", key, *at).returncode == 0,
        "the certificate of the erasure",
    )
    assert wops_json("admin", "instance", "certificate", key, *at)["instance_id"] == key
    left = wops_json("admin", "instance", "show", key, *at)
    assert (left["state"], left["usage"], left["usage_refused"]) == ("erased", None, "instance_erased")


def test_servers_are_added_changed_and_removed(at: tuple[str, str]) -> None:
    given = ("--kind", "sqlite", "--purpose", "shared", "--address", "more", "--site", "bonn")
    made = wops_json("admin", "server", "add", "more", *given, "--capacity", "3", *at)
    assert (made["name"], made["capacity"]) == ("more", 3)
    assert "more" in wops("admin", "server", "list", *at).stdout
    assert wops_json("admin", "server", "change", "more", "--capacity", "5", *at)["capacity"] == 5
    drained = wops_json("admin", "server", "change", made["server_id"], "--state", "draining", *at)
    assert (drained["state"], drained["version"]) == ("draining", 3)
    assert wops_json("admin", "server", "remove", "more", *at) == {"removed": made["server_id"]}
    gone = wops("admin", "server", "remove", "more", *at)
    assert (gone.returncode, "no server more" in gone.stderr) == (1, True)


def test_password_of_a_server_comes_from_a_file_or_a_terminal(at: tuple[str, str], tmp_path: Path) -> None:
    given = ("--kind", "mariadb", "--purpose", "shared", "--address", "127.0.0.1:1", "--site", "bonn")
    order = ("admin", "server", "add", "db-1", *given, "--admin-user", "wops_admin", *at)
    nobody = wops(*order, stdin="secret\n")
    assert (nobody.returncode, "--password-file" in nobody.stderr) == (1, True)
    file = tmp_path / "password"
    file.write_text("not-the-one\n")
    tried = wops(*order, "--password-file", str(file))
    assert tried.returncode == 1
    assert "server_" in tried.stderr
    assert "not-the-one" not in tried.stdout + tried.stderr


def test_contracts_have_dates_limits_and_temporary_lines(at: tuple[str, str], customer: str) -> None:
    _add_instance("acme-terms", customer, at, edition="high_availability")
    add = ("admin", "contract", "add", "acme-terms", "--edition", "high_availability")
    later = ("--from", "2030-01-01T00:00:00Z", "--until", "2030-02-01T00:00:00Z")
    negotiated = wops_json(*add, "--lines", "2", *later, "--limit", "activations=77", "--country", "DE", *at)
    assert (negotiated["limits"], negotiated["countries"]) == ({"activations": 77}, ["DE"])
    assert negotiated["effective_until"].startswith("2030-02-01T00:00:00")
    lent = wops_json(*add, "--temporary", "--lines", "2", *later, *at)
    assert (lent["kind"], lent["lines"]) == ("temporary_lines", 2)
    wrong = wops(*add, "--limit", "activations", *at)
    assert (wrong.returncode, "activations=1000" in wrong.stderr) == (1, True)


def test_isolation_is_tried_and_its_rounds_are_listed(at: tuple[str, str]) -> None:
    done = wops_json("admin", "probe", "run", *at)
    assert done["started_at"] in [each["started_at"] for each in wops_json("admin", "probe", *at)]


def test_access_doctor_says_which_rule_decides(at: tuple[str, str], customer: str) -> None:
    _add_instance("acme-doors", customer, at)
    wops_json("admin", "access", "set", "acme-doors", "--method", "network", "--network", "192.0.2.0/24", *at)
    check = ("admin", "access", "check", "acme-doors", "--address")
    assert wops_json(*check, "192.0.2.7", *at)["let_in"] is True
    refused = wops(*check, "203.0.113.7", *at)
    assert refused.returncode == 0
    assert "network: fails" in refused.stdout
    wrong = wops(
        "admin", "access", "set", "acme-doors", "--method", "network", "--network", "10.0.0.300/8", *at
    )
    assert (wrong.returncode, "network_invalid: '10.0.0.300/8'" in wrong.stderr) == (1, True)


def test_operations_are_listed_by_state_and_object(at: tuple[str, str], customer: str) -> None:
    made = _add_instance("acme-steps", customer, at)
    (found,) = wops_json("admin", "operation", "list", "--object", made["instance_id"], *at)
    assert found["object_id"] == made["instance_id"]
    assert wops_json("admin", "operation", "list", "--state", "fatal", *at) == []
    wrong = wops("admin", "operation", "list", "--state", "lost", *at)
    assert (wrong.returncode, "query /state: " in wrong.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("token", "add", "x", "--person", "p@wops.example", "--days", "100000"), "/expires_in_days: "),
        (("token", "add", "x", "--person", "p@wops.example", "--role", "boss"), "/role: "),
        (("support", "ask", "ins_none", "--reason", "x", "--hours", "2"), "/hours: "),
    ],
)
def test_refusal_names_the_fields_that_are_wrong(
    at: tuple[str, str], arguments: tuple[str, ...], fault: str
) -> None:
    done = wops("admin", *arguments, *at)
    assert done.returncode == 1
    assert fault in done.stderr
