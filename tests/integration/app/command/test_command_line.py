"""The command line as a newcomer uses it: one command, the story, the admin commands, kill -9, again."""

from __future__ import annotations

import base64
import json
import socket
import stat
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.app.command.platform_process import PlatformProcess, running, start, wops, wops_json
from tests.service.wait import wait_until

EDITIONS = ["datacenter", "dedicated", "high_performance", "high_availability"]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    with running(tmp_path_factory.mktemp("platform") / "data", "--demo") as filled:
        yield filled


def _get(url: str, user: str, secret: str) -> Any:
    request = urllib.request.Request(url)  # noqa: S310 - loopback
    request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode())
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.loads(answer.read())


def test_up_prints_one_instance_of_each_edition_with_credentials_that_work(platform: PlatformProcess) -> None:
    assert [each["edition"] for each in platform.printed["instances"]] == EDITIONS
    assert platform.printed["staff_token"].startswith("wops_staff_")
    for each in platform.printed["instances"][1:]:
        page = _get(f"{platform.address}/{each['name']}/api/v1/items", each["username"], each["secret"])
        assert page["data"] == []


def test_no_printed_secret_lies_in_any_file(platform: PlatformProcess) -> None:
    secrets = [platform.printed["staff_token"], *(each["secret"] for each in platform.printed["instances"])]
    for path in platform.data_dir.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in secrets), path


def test_demo_is_green(platform: PlatformProcess) -> None:
    walked = wops("demo", "--data-dir", str(platform.data_dir))
    assert walked.returncode == 0, walked.stdout + walked.stderr
    assert "steps did what they should" in walked.stdout
    assert "✗" not in walked.stdout


def test_admin_commands_work_through_the_control_socket(platform: PlatformProcess) -> None:
    at = ("--data-dir", str(platform.data_dir))
    customer = wops_json("admin", "customer", "add", "newcomer", *at)
    instance = wops_json(
        *("admin", "instance", "add", "newcomer-one", "--customer", customer["customer_id"]),
        *("--edition", "dedicated", "--overage", "block", *at),
    )
    assert (instance["state"], instance["edition"]) == ("ready", "dedicated")
    made = wops_json("admin", "client", "add", "newcomer-one", "erp", *at)
    rotated = wops_json("admin", "client", "rotate", "newcomer-one", made["client"]["client_id"], *at)
    assert rotated["secret"] != made["secret"]
    access = wops_json("admin", "access", "set", "newcomer-one", "--method", "basic", *at)
    assert (access["methods"], access["version"]) == (["basic"], 2)
    contract = wops_json("admin", "contract", "add", "newcomer-one", "--edition", "high_performance", *at)
    assert contract["edition"] == "high_performance"
    shown = wops_json("admin", "instance", "show", "newcomer-one", *at)
    limits = {each["meter"]: each["limit"] for each in shown["usage"]["meters"]}
    assert limits == {"activations": 25_000, "web_service_calls": 250_000}
    table = wops("admin", "instance", "list", *at)
    assert "newcomer-one" in table.stdout
    assert table.returncode == 0


def test_staff_token_works_at_the_address_until_it_is_revoked(platform: PlatformProcess) -> None:
    at = ("--data-dir", str(platform.data_dir))
    made = wops_json(
        "admin", "token", "add", "script", "--person", "ida@wops.example", "--role", "auditor", *at
    )
    remote = platform.remote(made["secret"])
    assert wops("admin", "instance", "list", *remote).returncode == 0
    refused = wops("admin", "customer", "add", "other", *remote)
    assert refused.returncode == 1
    assert "staff_role_insufficient" in refused.stderr
    wops_json("admin", "token", "revoke", made["token"]["token_id"], *at)
    late = wops("admin", "instance", "list", *remote)
    assert late.returncode == 1
    assert "staff_token_invalid" in late.stderr


def test_two_people_erase_a_third_from_the_command_line(platform: PlatformProcess) -> None:
    at = ("--data-dir", str(platform.data_dir))
    victor = wops_json("admin", "token", "add", "desk", "--person", "victor@wops.example", *at)
    mona = wops_json("admin", "token", "add", "desk", "--person", "mona@wops.example", *at)
    remote = platform.remote(mona["secret"])
    person = victor["token"]["person_id"]
    asked = wops_json("admin", "person", "erase", person, "--reason", "has left", *remote)
    assert asked["approval_id"] in wops("admin", "approval", "list", *at).stdout
    alone = wops("admin", "approval", "approve", asked["approval_id"], "--version", "1", *remote)
    assert (alone.returncode, "approval_by_requester" in alone.stderr) == (1, True)
    assert wops("admin", "approval", "approve", asked["approval_id"], "--json", *at).returncode == 1
    done = wops_json("admin", "approval", "approve", asked["approval_id"], "--version", "1", *at)
    assert (done["state"], done["decided_by"]) == ("approved", "local")
    assert wops("admin", "approval", "list", *at).stdout.count("apr_") == 0
    wait_until(
        lambda: any(each["erased_at"] for each in wops_json("admin", "person", "list", *at)),
        "the person to be erased",
    )
    turned = wops_json("admin", "token", "rotate", mona["token"]["token_id"], "--overlap-hours", "0", *at)
    assert wops("admin", "token", "list", *remote).returncode == 1
    assert wops("admin", "token", "list", *platform.remote(turned["secret"])).returncode == 0
    rejected = wops_json("admin", "person", "erase", mona["token"]["person_id"], "--reason", "no", *at)
    wops_json("admin", "approval", "reject", rejected["approval_id"], "--reason", "she stays", *at)
    assert wops("admin", "approval", "list", "--all", *at).stdout.count("apr_") == 2


def test_second_platform_on_the_same_data_is_refused_and_disturbs_nothing(platform: PlatformProcess) -> None:
    second = wops("up", "--port", "0", "--data-dir", str(platform.data_dir))
    assert second.returncode == 1
    assert "data_directory_in_use" in second.stderr
    assert wops("admin", "instance", "list", "--data-dir", str(platform.data_dir)).returncode == 0
    assert (platform.data_dir / "address").read_text() == platform.address


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("admin", "customer", "add", "Not A Name"), "name_unfit"),
        (
            ("admin", "instance", "add", "x-1", "--customer", "cus_none", "--edition", "dedicated"),
            "customer_not_found",
        ),
        (
            ("admin", "instance", "add", "x-1", "--customer", "cus_none", "--edition", "gold"),
            "request_invalid",
        ),
        (("admin", "client", "list", "no-such-instance"), "input_invalid"),
        (
            ("admin", "access", "set", "demo-dedicated", "--method", "network", "--network", "0.0.0.0/0"),
            "network_too_wide",
        ),
        (("admin", "operation", "show", "opn_none"), "operation_not_found"),
    ],
)
def test_wrong_admin_input_ends_with_a_code(
    platform: PlatformProcess, arguments: tuple[str, ...], code: str
) -> None:
    done = wops(*arguments, "--data-dir", str(platform.data_dir))
    assert done.returncode == 1
    assert code in done.stderr
    assert "Traceback" not in done.stderr


def test_platform_survives_kill_9_and_ends_orderly_on_sigterm(tmp_path: Path) -> None:
    first = start(tmp_path / "data", "--demo")
    assert wops("demo", "--data-dir", str(first.data_dir)).returncode == 0
    first.kill()
    again = start(first.data_dir, "--demo")
    assert again.printed["staff_token"] is None
    assert all(each["secret"] is None for each in again.printed["instances"])
    assert wops("demo", "--data-dir", str(first.data_dir)).returncode == 0
    assert again.terminate() == 0
    assert not (first.data_dir / "address").exists()
    migrated = wops("migrate", "--data-dir", str(first.data_dir))
    assert migrated.returncode == 0
    assert "5 databases, 0 changed" in migrated.stdout


def test_data_directory_that_stood_open_is_closed_and_so_is_all_that_is_made_in_it(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    data_dir.chmod(0o755)
    running = start(data_dir)
    try:
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
        made = {path.relative_to(data_dir): stat.S_IMODE(path.stat().st_mode) for path in data_dir.rglob("*")}
        assert Path("platform.db") in made
        assert {path: oct(mode) for path, mode in made.items() if mode & 0o077} == {}
    finally:
        running.terminate()
    data_dir.chmod(0o755)
    assert wops("migrate", "--data-dir", str(data_dir)).returncode == 0
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700


def test_lost_credential_key_is_not_replaced(tmp_path: Path) -> None:
    running = start(tmp_path / "data")
    running.terminate()
    key = running.data_dir / "credential.key"
    content = key.read_bytes()
    key.unlink()
    done = wops("up", "--port", "0", "--data-dir", str(running.data_dir))
    assert (done.returncode, key.exists()) == (1, False)
    assert "credential_key_missing" in done.stderr
    key.write_bytes(content)
    key.chmod(0o600)
    again = start(running.data_dir)
    assert again.printed["staff_token"] is None
    again.terminate()


def test_migration_of_a_directory_that_is_being_served_finds_all_up_to_date(
    platform: PlatformProcess,
) -> None:
    done = wops("migrate", "--all", "--json", "--data-dir", str(platform.data_dir))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["current"], report["migrated"], report["failed"]) == (report["instances"], 0, 0)
    assert report["instances"] >= len(EDITIONS)


@pytest.mark.parametrize("command", ["up", "migrate"])
def test_data_directory_that_is_a_file_is_said_plainly(tmp_path: Path, command: str) -> None:
    file = tmp_path / "data"
    file.write_text("")
    done = wops(command, "--data-dir", str(file))
    assert done.returncode == 1
    assert str(file) in done.stderr
    assert "Cannot listen" not in done.stderr
    assert "Traceback" not in done.stderr


def test_migration_of_nothing_makes_nothing(tmp_path: Path) -> None:
    done = wops("migrate", "--data-dir", str(tmp_path / "data"))
    assert (done.returncode, list(tmp_path.iterdir())) == (1, [])
    assert "There is no platform database" in done.stderr


def test_address_in_use_is_said_plainly(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = wops("up", "--data-dir", str(tmp_path / "data"), "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "Cannot listen" in done.stderr
    assert "Traceback" not in done.stderr


def test_command_without_a_running_platform_says_what_to_do(tmp_path: Path) -> None:
    done = wops("admin", "instance", "list", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "net_unavailable" in done.stderr
    assert "wops up" in done.stderr
