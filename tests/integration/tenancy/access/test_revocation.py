from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address

import pytest

from app.core.errors import DomainError
from app.core.ids import ApiClientId, InstanceId
from app.core.outbox import list_events
from tenancy import CertificateService, Insistence, PinDraft, check_scopes, make_policy
from tenancy.access.revocation.revocation_list import MOST_LISTS
from tenancy.access.revocation.service import RevocationService
from tenancy.access.revocation.verification import Verification
from tenancy.front.access import read_access
from tenancy.instance import InstanceOpener
from tests.fake.clock import START
from tests.integration.tenancy.access.outcome import outcome
from tests.integration.tenancy.world import World
from tests.service.pki import YEAR, Issued, issue, make_authority, make_revocation_list, renew

PEER = ip_address("192.0.2.7")
CA = make_authority()
MINE = issue("CN=erp,O=ACME", issuer=CA)
WEEK = timedelta(days=7)


@dataclass
class Shop:
    """An instance whose ERP is pinned to an authority."""

    world: World
    instance_id: InstanceId
    erp_id: ApiClientId
    lists: RevocationService
    noted: list[InstanceId]

    def pin(self, authority: Issued) -> None:
        draft = PinDraft(certificate=authority.pem, subject="CN=erp,O=ACME")
        CertificateService(self.world.clients).add_certificate(self.instance_id, self.erp_id, draft)

    def put(self, text: str) -> str:
        return outcome(lambda: self.lists.put_list(self.instance_id, text))

    def comes_in_as(self, certificate: Issued, verification: Verification = "good") -> str:
        cache = self.world.cache(self.instance_id)
        try:
            return cache.check(
                peer=PEER, basic=None, certificate=certificate.der, verification=verification
            ).principal.name
        except DomainError as refused:
            return refused.code

    def events(self) -> list[str]:
        db = self.world.databases.open(self.instance_id)
        found = db.read(lambda reader: list_events(reader, after=0, limit=500))
        return [each.type for each in found if "revocation" in each.type]


@pytest.fixture
def shop(world: World) -> Shop:
    instance_id = world.ready_instance().instance_id
    policy = make_policy(mode="any", methods=["basic", "certificate"])
    world.access.put_policy(instance_id, policy, expected_version=1)
    scopes = check_scopes(["read"])
    erp = world.clients.add_client(instance_id, name="erp", scopes=scopes).value.client
    noted: list[InstanceId] = []
    opener = InstanceOpener(world.platform, world.databases, on_access=noted.append)
    shop = Shop(world, instance_id, erp.client_id, RevocationService(opener), noted)
    shop.pin(CA)
    return shop


def test_certificate_on_the_list_is_out_and_others_come_in(shop: Shop) -> None:
    other = issue("CN=erp,O=ACME", issuer=CA)
    assert shop.comes_in_as(MINE) == shop.comes_in_as(other) == "acme.erp"
    assert shop.put(make_revocation_list(CA, MINE)) == "done"
    assert shop.comes_in_as(MINE) == "certificate_revoked"
    assert shop.comes_in_as(other) == "acme.erp"
    (kept,) = shop.lists.list_lists(shop.instance_id)
    assert (kept.number, kept.entries, kept.version) == (1, 1, 1)
    shop.lists.remove_list(shop.instance_id, kept.authority)
    assert shop.comes_in_as(MINE) == "acme.erp"
    assert shop.events() == ["access.revocation_list_put", "access.revocation_list_removed"]
    assert set(shop.noted) == {shop.instance_id}


def test_line_refuses_the_revoked_within_a_second(shop: Shop) -> None:
    cache = shop.world.cache(shop.instance_id)
    cache.check(peer=PEER, basic=None, certificate=MINE.der)
    assert cache.check_held(peer=PEER, basic=None, certificate=MINE.der) is not None
    shop.put(make_revocation_list(CA, MINE))
    shop.world.clock.advance(timedelta(seconds=1.01))
    assert cache.check_held(peer=PEER, basic=None, certificate=MINE.der) is None
    with pytest.raises(DomainError) as refused:
        cache.check(peer=PEER, basic=None, certificate=MINE.der)
    assert refused.value.code == "certificate_revoked"


def test_nobody_comes_in_once_the_list_has_run_out(shop: Shop) -> None:
    shop.put(make_revocation_list(CA, number=1, this_update=START, lasts=WEEK))
    cache = shop.world.cache(shop.instance_id)
    admitted = cache.check(peer=PEER, basic=None, certificate=MINE.der)
    assert admitted.valid_until == START + WEEK
    shop.world.clock.set(START + WEEK + timedelta(seconds=1))
    assert shop.comes_in_as(MINE) == "revocation_list_outdated"
    newer = make_revocation_list(CA, number=2, this_update=START + WEEK, lasts=WEEK)
    assert shop.put(newer) == "done"
    assert shop.comes_in_as(MINE) == "acme.erp"


def test_older_list_never_takes_the_place_of_a_newer_one(shop: Shop) -> None:
    newer = make_revocation_list(CA, MINE, number=5, this_update=START)
    assert shop.put(newer) == shop.put(newer) == "done"
    for text in (
        make_revocation_list(CA, number=4, this_update=START),
        make_revocation_list(CA, number=5, this_update=START),
        make_revocation_list(CA, number=6, this_update=START - WEEK),
    ):
        assert shop.put(text) == "revocation_list_older"
    assert shop.comes_in_as(MINE) == "certificate_revoked"
    assert shop.events() == ["access.revocation_list_put"], "the same list again is nothing new"


def test_list_must_be_of_a_pinned_authority(shop: Shop) -> None:
    stranger = make_authority("CN=stranger")
    assert shop.put(make_revocation_list(stranger)) == "revocation_list_foreign"
    assert shop.put(make_revocation_list(make_authority())) == "revocation_list_foreign", "a namesake"
    assert shop.put("x") == "revocation_list_malformed"
    assert shop.put(make_revocation_list(CA, lasts=timedelta(0))) == "revocation_list_unfit"
    assert shop.lists.list_lists(shop.instance_id) == []
    removing = outcome(lambda: shop.lists.remove_list(shop.instance_id, "0" * 64))
    assert removing == "revocation_list_not_found"


def test_list_holds_over_the_renewal_of_its_authority(shop: Shop) -> None:
    shop.put(make_revocation_list(CA, MINE))
    shop.pin(renew(CA, lasts=20 * YEAR))
    assert shop.comes_in_as(MINE) == "certificate_revoked"
    newer = make_revocation_list(CA, number=2, this_update=START)
    assert shop.put(newer) == "done"
    assert len(shop.lists.list_lists(shop.instance_id)) == 1


def test_list_is_renewed_though_its_authority_is_pinned_no_more(shop: Shop) -> None:
    own = issue("CN=erp,O=ACME", issuer=CA)
    services = CertificateService(shop.world.clients)
    services.add_certificate(shop.instance_id, shop.erp_id, PinDraft(certificate=own.pem))
    shop.put(make_revocation_list(CA, number=1, this_update=START, lasts=WEEK))
    client = shop.world.clients.get_client(shop.instance_id, shop.erp_id)
    (pin,) = (each for each in client.certificates if each.kind != "fingerprint")
    services.remove_certificate(
        shop.instance_id, shop.erp_id, pin.certificate_id, insistence=Insistence(force=True)
    )
    shop.world.clock.set(START + WEEK + timedelta(seconds=1))
    assert shop.comes_in_as(own) == "revocation_list_outdated"
    assert shop.put(make_revocation_list(CA, number=2, this_update=START + WEEK, lasts=WEEK)) == "done"
    assert shop.comes_in_as(own) == "acme.erp"


def test_word_of_the_front_counts_where_there_is_a_list(shop: Shop) -> None:
    assert shop.comes_in_as(MINE, "revoked") == "acme.erp", "another customer's list may say so"
    assert shop.comes_in_as(MINE, "not_verified") == "certificate_not_verified"
    shop.put(make_revocation_list(CA))
    assert shop.comes_in_as(MINE, "good") == "acme.erp"
    assert shop.comes_in_as(MINE, "revoked") == "certificate_revoked"


def test_unknown_certificate_learns_nothing_of_lists(shop: Shop) -> None:
    shop.put(make_revocation_list(CA, MINE))
    stranger = issue("CN=crm,O=ACME", issuer=CA)
    for verification in ("good", "revoked", "not_verified"):
        assert shop.comes_in_as(stranger, verification) == "instance_not_found"


def test_instance_has_so_many_lists_at_most(shop: Shop) -> None:
    authorities = [make_authority(f"CN=ca {number}") for number in range(MOST_LISTS)]
    for authority in authorities[:-1]:
        shop.pin(authority)
        assert shop.put(make_revocation_list(authority)) == "done"
    assert shop.put(make_revocation_list(CA)) == "done"
    other = shop.world.clients.add_client(
        shop.instance_id, name="crm", scopes=check_scopes(["read"])
    ).value.client
    draft = PinDraft(certificate=authorities[-1].pem, subject="CN=crm")
    CertificateService(shop.world.clients).add_certificate(shop.instance_id, other.client_id, draft)
    assert shop.put(make_revocation_list(authorities[-1])) == "revocation_lists_too_many"


def test_front_reads_what_it_needs_of_access_once(shop: Shop) -> None:
    db = shop.world.databases.open(shop.instance_id)
    first = read_access(db)
    assert read_access(db, first) is first
    assert first.networks is None
    assert [each.fingerprint for each in first.authorities] == [CA.fingerprint]
    shop.put(make_revocation_list(CA))
    own = issue("CN=own")
    CertificateService(shop.world.clients).add_certificate(
        shop.instance_id, shop.erp_id, PinDraft(certificate=own.pem)
    )
    policy = make_policy(mode="all", methods=["basic", "network"], networks=["192.0.2.0/24"])
    shop.world.access.put_policy(shop.instance_id, policy, expected_version=2)
    second = read_access(db, first)
    assert second.client_certificates == {"acme.erp": (own.fingerprint,)}
    assert [str(each) for each in second.networks or ()] == ["192.0.2.0/24"]
    assert list(second.lists) == [second.authorities[0].key]
