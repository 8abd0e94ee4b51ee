"""Host names, revocation lists and denied networks from the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.integration.app.command.platform_process import wops, wops_json
from tests.service.pki import Issued, issue_for_host, make_authority, make_revocation_list

NAME: Final = "acme-front"
NOW: Final = datetime.now(UTC)
DAY: Final = timedelta(days=1)


@pytest.fixture(scope="module")
def instance(at: tuple[str, str], customer: str) -> str:
    order = ("--customer", customer, "--edition", "dedicated")
    wops_json("admin", "instance", "add", NAME, *order, *at)
    return NAME


def files(folder: Path, issued: Issued) -> tuple[str, ...]:
    (folder / "c.pem").write_text(issued.pem)
    (folder / "k.pem").write_text(issued.key_pem)
    return ("--certificate", str(folder / "c.pem"), "--key", str(folder / "k.pem"))


def test_host_is_added_listed_renewed_and_removed(instance: str, at: tuple[str, str], tmp_path: Path) -> None:
    host = ("admin", "host")
    first, second = (issue_for_host("a.example", not_before=NOW - DAY, lasts=20 * DAY) for _ in range(2))
    given = files(tmp_path, first)
    added = wops_json(*host, "add", "A.example", *given, "--instance", instance, *at)
    assert (added["host"], added["warnings"]) == ("a.example", ["certificate_expires_soon"])
    platform = issue_for_host("p.example", not_before=NOW - DAY)
    own = wops_json(*host, "add", "p.example", *files(tmp_path, platform), *at)
    assert own["instance_id"] is None
    shown = wops(*host, "list", *at).stdout
    assert "a.example" in shown
    assert "certificate_expires_soon" in shown
    assert "p.example" not in wops(*host, "list", "--instance", instance, *at).stdout
    renewed = wops_json(*host, "renew", "a.example", *files(tmp_path, second), *at)
    assert (renewed["version"], renewed["fingerprint"]) == (2, second.fingerprint)
    for name in ("a.example", "p.example"):
        assert wops_json(*host, "remove", name, *at) == {"removed": name}
    refused = wops(*host, "remove", "a.example", *at)
    assert (refused.returncode != 0, "There is no host a.example" in refused.stderr) == (True, True)


def test_revocation_list_is_put_as_pem_or_der(instance: str, at: tuple[str, str], tmp_path: Path) -> None:
    authority = make_authority("CN=ca", not_before=NOW - 30 * DAY)
    (tmp_path / "ca.pem").write_text(authority.pem)
    client = wops_json("admin", "client", "add", instance, "erp", *at)["client"]["client_id"]
    pin = ("admin", "client", "certificate", "add", instance, client, str(tmp_path / "ca.pem"))
    wops_json(*pin, "--subject", "CN=erp", *at)
    revocation = ("admin", "revocation")
    texts = (make_revocation_list(authority, number=n, this_update=NOW - DAY, lasts=9 * DAY) for n in (1, 2))
    pem, der = tmp_path / "list.pem", tmp_path / "list.der"
    pem.write_text(next(texts))
    der.write_bytes(x509.load_pem_x509_crl(next(texts).encode()).public_bytes(Encoding.DER))
    for file, number in ((pem, "1"), (der, "2")):
        kept = wops_json(*revocation, "put", instance, str(file), *at)
        assert (kept["number"], kept["issuer"]) == (number, "CN=ca")
    refused = wops(*revocation, "put", instance, str(pem), *at)
    assert (refused.returncode != 0, "revocation_list_older" in refused.stderr) == (True, True)
    assert "CN=ca" in wops(*revocation, "list", instance, *at).stdout
    removed = wops_json(*revocation, "remove", instance, kept["authority"], *at)
    assert removed == {"removed": kept["authority"]}


def test_network_is_denied_and_allowed(at: tuple[str, str]) -> None:
    denied = ("admin", "denied")
    added = wops_json(*denied, "add", "198.51.100.0/24", "--reason", "a flood", "--hours", "2", *at)
    assert (added["network"], added["reason"], added["in_force"]) == ("198.51.100.0/24", "a flood", True)
    assert "a flood" in wops(*denied, "list", *at).stdout
    wide = wops(*denied, "add", "10.0.0.0/8", "--reason", "x", *at)
    assert (wide.returncode != 0, "network_too_wide" in wide.stderr) == (True, True)
    assert wops_json(*denied, "remove", "198.51.100.0/24", *at) == {"removed": "198.51.100.0/24"}


def test_front_without_load_balancers_is_empty(at: tuple[str, str]) -> None:
    assert wops_json("admin", "front", "show", *at)["load_balancers"] == []
    assert wops("admin", "front", "plan", "--json", *at).stdout.strip() == "[]"
