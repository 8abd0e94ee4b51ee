"""What a newcomer is told at the terminal: where his instance is, who may call it, whom a token makes him."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.app.command.platform_process import PlatformProcess, wops, wops_json

At = tuple[str, str]
FORBIDDEN = "has no web services: whoever calls them is refused with 403."


@pytest.fixture(scope="module")
def mona(platform: PlatformProcess, at: At) -> tuple[str, ...]:
    """Options of a colleague who sits at the data directory, too."""
    made = wops_json(
        *("admin", "token", "add", "desk", "--role", "admin"), "--person", "mona@wops.example", *at
    )
    _, _, *token_file = platform.remote(made["secret"])
    return (*token_file, *at)


def test_new_instance_says_where_it_is_and_who_may_call_it(
    platform: PlatformProcess, at: At, customer: str
) -> None:
    add = ("admin", "instance", "add")
    order = ("--customer", customer, "--edition")
    done = wops(*add, "acme-own", *order, "dedicated", *at)
    first, *commands = done.stderr.splitlines()
    assert first == f"It is at {platform.address}/acme-own. Nobody may call its web services yet:"
    for command in commands:
        # What is said to be typed can be typed.
        assert wops(*command.split()[1:], *at).returncode == 0, command
    shared = wops(*add, "acme-shared", *order, "datacenter", *at)
    (only,) = shared.stderr.splitlines()
    assert only.startswith(f"It is at {platform.address}/acme-shared. Its edition has no web services")
    assert wops(*add, "acme-quiet", *order, "dedicated", "--json", *at).stderr == ""


def test_client_without_web_services_is_warned_of(at: At, customer: str) -> None:
    wops_json(
        *("admin", "instance", "add", "acme-dc", "--customer", customer, "--edition", "datacenter"), *at
    )
    said = f"acme-dc (datacenter) {FORBIDDEN}\n"
    assert wops("admin", "client", "add", "acme-dc", "erp", *at).stderr == said
    assert wops("admin", "access", "set", "acme-dc", "--method", "basic", *at).stderr == said
    assert wops("admin", "client", "add", "acme-dc", "crm", "--json", *at).stderr == ""


def test_token_decides_who_it_is_at_the_data_directory_too(
    at: At, mona: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victor = wops_json("admin", "token", "add", "desk", "--person", "victor@wops.example", *at)["token"]
    # Asked for by the local operator: mona may approve it, and is not taken for him.
    asked = wops_json("admin", "person", "erase", victor["person_id"], "--reason", "has left", *at)
    approve = ("admin", "approval", "approve", asked["approval_id"])
    garbage = tmp_path / "garbage.tok"
    garbage.write_text("garbage\n")
    for command in (("admin", "box", "list"), (*approve, "--version", "1")):
        refused = wops(*command, "--token-file", str(garbage), *at)
        assert (refused.returncode, refused.stdout, "staff_token_invalid" in refused.stderr) == (1, "", True)
    monkeypatch.setenv("WOPS_STAFF_TOKEN", "garbage")
    assert "staff_token_invalid" in wops("admin", "box", "list", *at).stderr
    monkeypatch.delenv("WOPS_STAFF_TOKEN")
    done = wops_json(*approve, "--version", "1", *mona)
    assert done["state"] == "approved"
    assert done["decided_by"].startswith("per_")
    late = wops(*approve, *mona)
    assert (late.returncode, "Let this happen?" in late.stdout + late.stderr) == (1, False)
    assert "approval_closed" in late.stderr


def test_firm_key_is_installed_for_an_instance(at: At) -> None:
    told = " ".join(wops("admin", "firm-key", "install", "--help").stdout.replace("│", " ").split())
    assert "instance whose key it is, not its firm code" in told
