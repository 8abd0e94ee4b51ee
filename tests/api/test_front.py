"""Own host names and revocation lists through both APIs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.core.ids import new_id
from tests.api.lifecycle import approved
from tests.api.site import PUBLIC, Instance, Site, good, refused
from tests.service.pki import START, YEAR, Issued, issue, issue_for_host, make_authority, make_revocation_list

NOBODY = "hst_0"


def host_body(host: str, issued: Issued | None = None) -> dict[str, Any]:
    issued = issued or issue_for_host(host, issuer=PUBLIC)
    return {"host": host, "certificate": issued.pem, "key": issued.key_pem}


def if_match(version: int) -> dict[str, str]:
    return {"If-Match": f'"{version}"'}


@pytest.fixture(scope="module")
def shop(site: Site) -> Instance:
    return site.add_instance("dedicated", "front-shop")


def test_customer_looks_after_his_own_hosts(shop: Instance) -> None:
    host = "licenses.shop.example"
    answer = shop.portal("POST", "/hosts", host_body(host))
    added = good(answer, 201)
    assert answer.headers["ETag"] == '"1"'
    assert (added["host"], added["instance_id"]) == (host, shop.instance_id)
    assert (added["issuer"], added["warnings"]) == (PUBLIC.subject, [])
    assert added["expires_in_days"] == (START + YEAR - shop.site.clock.now()).days
    assert "PRIVATE" not in answer.text
    path = f"/hosts/{added['host_id']}"
    assert good(shop.portal("GET", "/hosts")) == [good(shop.portal("GET", path))] == [added]
    assert good(shop.admin("GET", "/hosts")) == [added]
    certificate = {name: value for name, value in host_body(host).items() if name != "host"}
    renewed = good(shop.portal("PUT", f"{path}/certificate", certificate, headers=if_match(1)))
    assert (renewed["version"], renewed["fingerprint"] != added["fingerprint"]) == (2, True)
    refused(shop.portal("DELETE", path, headers=if_match(1)), 412, "host_version_conflict")
    assert shop.portal("DELETE", path, headers=if_match(2)).status_code == 204
    assert good(shop.portal("GET", "/hosts")) == []


def test_customer_claims_no_name_that_he_cannot_prove(shop: Instance) -> None:
    host = "claimed.shop.example"
    with shop.site.nothing_changes(but=("api_client", "op")):
        for issued in (issue_for_host(host), issue_for_host(host, issuer=make_authority("CN=Public CA"))):
            refused(shop.portal("POST", "/hosts", host_body(host, issued)), 422, "host_not_proven")
    good(shop.admin("POST", "/hosts", host_body(host, issue_for_host(host))), 201)
    refused(shop.portal("POST", "/hosts", host_body(host)), 409, "host_taken")


def test_hosts_of_others_do_not_exist(shop: Instance, site: Site, instances: dict[str, Instance]) -> None:
    stranger = instances["high_performance"]
    added = good(shop.admin("POST", "/hosts", host_body("private.shop.example")), 201)
    path = f"/hosts/{added['host_id']}"
    body = {name: value for name, value in host_body("private.shop.example").items() if name != "host"}
    for ask in (stranger.portal, stranger.admin):
        refused(ask("GET", path), 404, "host_not_found")
        refused(ask("PUT", f"{path}/certificate", body, headers=if_match(1)), 404, "host_not_found")
        refused(ask("DELETE", path, headers=if_match(1)), 404, "host_not_found")
    assert good(site.admin("GET", path)) == added


def test_platform_has_hosts_of_its_own(site: Site, shop: Instance) -> None:
    host = f"{new_id('p')[-8:]}.wops.example"
    added = good(site.admin("POST", "/hosts", host_body(host, issue_for_host(host))), 201)
    assert added["instance_id"] is None
    listed = {each["host"]: each["instance_id"] for each in site.listed("/hosts")}
    assert listed[host] is None
    refused(shop.portal("POST", "/hosts", host_body(host)), 409, "host_taken")
    refused(shop.portal("GET", f"/hosts/{added['host_id']}"), 404, "host_not_found")
    headers = {**if_match(1)}
    assert site.admin("DELETE", f"/hosts/{added['host_id']}", headers=headers).status_code == 204


def test_expiry_is_seen_coming(shop: Instance) -> None:
    now = shop.site.clock.now()
    for name, begins, lasts, wanted in (
        ("soon", START, now - START + timedelta(days=20), ["certificate_expires_soon"]),
        ("early", now + timedelta(days=1), YEAR, ["certificate_not_yet_valid"]),
        ("fine", START, YEAR, []),
    ):
        host = f"{name}.dates.example"
        issued = issue_for_host(host, not_before=begins, lasts=lasts)
        added = good(shop.admin("POST", "/hosts", host_body(host, issued)), 201)
        assert added["warnings"] == wanted
    old = issue_for_host("old.dates.example", lasts=timedelta(days=1))
    answer = shop.admin("POST", "/hosts", host_body("old.dates.example", old))
    refused(answer, 422, "host_certificate_expired")


def test_private_key_stands_in_no_row_and_no_answer(shop: Instance) -> None:
    issued = issue_for_host("secret.shop.example")
    key_lines = issued.key_pem.splitlines()[1:-1]
    answer = shop.admin("POST", "/hosts", host_body("secret.shop.example", issued))
    good(answer, 201)
    everything = answer.text + str(shop.site.dump()) + shop.admin("GET", "/audit").text
    assert not any(line in everything for line in key_lines)


def test_erased_instance_leaves_no_host_and_no_key(site: Site) -> None:
    instance = site.add_instance("dedicated", "front-erased")
    host = "erased.shop.example"
    good(instance.admin("POST", "/hosts", host_body(host)), 201)
    approved(instance, "end", {"reason": "contract ended", "retention_days": 0})
    assert host in {each["host"] for each in site.listed("/hosts")}, "its data are kept, and so is its name"
    approved(instance, "erase", {"reason": "retention is over"})
    assert host not in {each["host"] for each in site.listed("/hosts")}
    refused(instance.admin("POST", "/hosts", host_body(host)), 410, "instance_erased")
    good(site.admin("POST", "/hosts", host_body(host)), 201)


def test_revocation_list_is_kept_by_customer_and_staff(shop: Instance) -> None:
    authority = make_authority("CN=shop ca")
    client_id = good(shop.admin("GET", "/clients"))[0]["client_id"]
    foreign = {"list": make_revocation_list(authority)}
    refused(shop.portal("PUT", "/revocation-lists", foreign), 422, "revocation_list_foreign")
    pin = {"certificate": authority.pem, "subject": "CN=till"}
    good(shop.admin("POST", f"/clients/{client_id}/certificates", pin), 201)
    first = good(shop.portal("PUT", "/revocation-lists", {"list": make_revocation_list(authority, number=2)}))
    assert (first["number"], first["entries"], first["outdated"]) == ("2", 0, False)
    revoked = issue("CN=till", issuer=authority)
    newer = make_revocation_list(authority, revoked, number=3)
    second = good(shop.admin("PUT", "/revocation-lists", {"list": newer}))
    assert (second["authority"], second["entries"], second["version"]) == (first["authority"], 1, 2)
    older = {"list": make_revocation_list(authority, number=1)}
    refused(shop.portal("PUT", "/revocation-lists", older), 409, "revocation_list_older")
    refused(shop.portal("PUT", "/revocation-lists", {"list": "x"}), 422, "revocation_list_malformed")
    assert second in good(shop.portal("GET", "/revocation-lists"))
    path = f"/revocation-lists/{first['authority']}"
    assert shop.portal("DELETE", path).status_code == 204
    refused(shop.admin("DELETE", path), 404, "revocation_list_not_found")


def test_doctor_explains_what_the_load_balancer_says(shop: Instance) -> None:
    authority = make_authority("CN=doctor ca")
    revoked, fine = (issue("CN=patient", issuer=authority) for _ in range(2))
    client_id = good(shop.admin("GET", "/clients"))[0]["client_id"]
    pin = {"certificate": authority.pem, "subject": "CN=patient"}
    good(shop.admin("POST", f"/clients/{client_id}/certificates", pin), 201)
    good(shop.admin("PUT", "/revocation-lists", {"list": make_revocation_list(authority, revoked)}))
    shop.put_access(mode="any", methods=["certificate", "basic"])

    def diagnosed(certificate: Issued, verification: str = "good") -> str | None:
        body = {"address": "192.0.2.7", "certificate": certificate.pem, "verification": verification}
        found = good(shop.portal("POST", "/access:diagnose", body))
        finding = next(each for each in found["findings"] if each["rule"] == "certificate")
        assert (finding["code"], bool(finding["advice"])) == (found["code"], found["code"] is not None)
        code: str | None = found["code"]
        return code

    assert diagnosed(fine) is None
    assert diagnosed(revoked) == "certificate_revoked"
    assert diagnosed(fine, "revoked") == "certificate_revoked"
    assert diagnosed(fine, "not_verified") == "certificate_not_verified"


def test_platform_without_load_balancers_looks_after_none(site: Site) -> None:
    front = good(site.admin("GET", "/front"))
    assert (front["wanted"], front["load_balancers"]) == (0, [])
    assert good(site.admin("POST", "/front:plan")) == []
