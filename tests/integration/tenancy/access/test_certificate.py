from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address

import pytest

from app.core.command import Command
from app.core.errors import DomainError
from app.core.ids import ApiClientId, InstanceId
from app.core.outbox import list_events
from tenancy import CertificateService, Insistence, PinDraft, check_scopes, make_policy
from tenancy.access.client.record import MOST_CERTIFICATES
from tests.fake.clock import START
from tests.integration.tenancy.access.outcome import outcome
from tests.integration.tenancy.world import World
from tests.service.pki import SERVER_AUTH, YEAR, Issued, issue, make_authority, renew

PEER = ip_address("192.0.2.7")
READ = check_scopes(["read"])


@dataclass
class Shop:
    """An instance that lets clients in by certificate or Basic credentials."""

    world: World
    instance_id: InstanceId
    erp_id: ApiClientId
    crm_id: ApiClientId

    @property
    def certificates(self) -> CertificateService:
        return CertificateService(self.world.clients)

    def add(self, client_id: ApiClientId, certificate: Issued, subject: str | None = None) -> str:
        draft = PinDraft(certificate=certificate.pem, subject=subject)
        return outcome(lambda: self.certificates.add_certificate(self.instance_id, client_id, draft))

    def comes_in_as(self, certificate: Issued) -> str:
        cache = self.world.cache(self.instance_id)
        try:
            return cache.check(peer=PEER, basic=None, certificate=certificate.der).principal.name
        except DomainError as refused:
            return refused.code


@pytest.fixture
def shop(world: World) -> Shop:
    instance_id = world.ready_instance().instance_id
    policy = make_policy(mode="any", methods=["basic", "certificate"])
    world.access.put_policy(instance_id, policy, expected_version=1)
    erp, crm = (
        world.clients.add_client(instance_id, name=name, scopes=READ).value.client for name in ("erp", "crm")
    )
    return Shop(world, instance_id, erp.client_id, crm.client_id)


def test_client_comes_in_by_its_certificate_until_that_is_removed(shop: Shop) -> None:
    mine = issue()
    assert shop.comes_in_as(mine) == "instance_not_found"
    pin = shop.certificates.add_certificate(
        shop.instance_id, shop.erp_id, PinDraft(certificate=mine.pem)
    ).value
    assert (pin.kind, pin.fingerprint, pin.subject) == ("fingerprint", mine.fingerprint, mine.subject)
    assert shop.comes_in_as(mine) == "acme.erp"
    cache = shop.world.cache(shop.instance_id)
    cache.check(peer=PEER, basic=None, certificate=mine.der)
    cache.flush_use()
    (stored,) = shop.world.clients.get_client(shop.instance_id, shop.erp_id).certificates
    assert stored.last_used_at == shop.world.clock.now()
    shop.certificates.remove_certificate(shop.instance_id, shop.erp_id, pin.certificate_id)
    assert shop.comes_in_as(mine) == "instance_not_found"


def test_whatever_the_authority_certifies_for_the_subject_comes_in(shop: Shop) -> None:
    authority, forger = make_authority(), make_authority()
    assert shop.add(shop.erp_id, authority, "CN=erp,O=ACME") == "done"
    for _ in range(2):
        assert shop.comes_in_as(issue("CN=erp,O=ACME", issuer=authority)) == "acme.erp"
    assert shop.comes_in_as(issue("CN=other,O=ACME", issuer=authority)) == "instance_not_found"
    assert shop.comes_in_as(issue("CN=erp,O=ACME", issuer=forger)) == "instance_not_found"
    assert shop.comes_in_as(issue("CN=erp,O=ACME")) == "instance_not_found"


def test_certificate_held_in_memory_is_out_when_it_runs_out(shop: Shop) -> None:
    brief = issue(not_before=START - timedelta(days=1), lasts=timedelta(days=1, seconds=1))
    shop.add(shop.erp_id, brief)
    cache = shop.world.cache(shop.instance_id)
    cache.check(peer=PEER, basic=None, certificate=brief.der)
    assert cache.check_held(peer=PEER, basic=None, certificate=brief.der) is not None
    shop.world.clock.advance(timedelta(seconds=1, microseconds=1))
    assert shop.comes_in_as(brief) == "certificate_outdated"


def test_certificate_that_is_of_no_use_is_refused_and_nothing_is_stored(shop: Shop) -> None:
    authority = make_authority()
    late = issue(not_before=START - YEAR, lasts=YEAR / 2)
    assert shop.add(shop.erp_id, late) == "certificate_expired"
    assert shop.add(shop.erp_id, issue(usage=SERVER_AUTH)) == "certificate_unfit"
    assert shop.add(shop.erp_id, issue(), "CN=erp") == "certificate_unfit"
    assert shop.add(shop.erp_id, authority, "erp") == "certificate_unfit"
    assert shop.add(ApiClientId("cli_0"), authority, "CN=erp") == "client_not_found"
    broken = PinDraft(certificate="no certificate")
    call = outcome(lambda: shop.certificates.add_certificate(shop.instance_id, shop.erp_id, broken))
    assert call == "certificate_malformed"
    assert shop.world.clients.get_client(shop.instance_id, shop.erp_id).certificates == ()


def test_certificate_belongs_to_one_client(shop: Shop) -> None:
    mine, authority = issue(), make_authority()
    assert shop.add(shop.erp_id, mine) == "done"
    assert shop.add(shop.crm_id, mine) == "certificate_taken"
    assert shop.add(shop.erp_id, authority, "CN=erp") == "done"
    assert shop.add(shop.crm_id, authority, "CN=crm") == "done"
    assert shop.add(shop.crm_id, authority, "CN=erp") == "certificate_taken"


def test_certificate_that_another_clients_pin_would_fit_is_refused_where_that_can_be_known(
    shop: Shop,
) -> None:
    authority = make_authority()
    assert shop.add(shop.erp_id, authority, "CN=erp") == "done"
    # The CA has been renewed: same key, another certificate.
    renewed = renew(authority)
    assert renewed.fingerprint != authority.fingerprint
    assert shop.add(shop.crm_id, renewed, "CN=erp") == "certificate_taken"
    assert shop.add(shop.erp_id, renewed, "CN=erp") == "done"
    mine = issue("CN=erp", issuer=authority)
    assert shop.add(shop.crm_id, mine) == "certificate_taken"
    assert shop.add(shop.erp_id, mine) == "done"
    assert shop.add(shop.crm_id, issue("CN=erp")) == "done"
    assert shop.add(shop.crm_id, make_authority(), "CN=erp") == "done"


def test_disabled_clients_certificate_stays_out_although_another_clients_pin_fits(shop: Shop) -> None:
    authority = make_authority()
    mine = issue("CN=erp", issuer=authority)
    assert shop.add(shop.erp_id, mine) == "done"
    # Of the certificate only its fingerprint is kept, so nobody can know that this CA has issued it.
    assert shop.add(shop.crm_id, authority, "CN=erp") == "done"
    assert shop.comes_in_as(mine) == "acme.erp"
    shop.world.clients.disable_client(shop.instance_id, shop.erp_id)
    assert shop.comes_in_as(mine) == "certificate_of_closed_client"


def test_client_has_a_bounded_number_of_certificates(shop: Shop) -> None:
    authority = make_authority()
    for n in range(MOST_CERTIFICATES):
        assert shop.add(shop.erp_id, authority, f"CN=erp-{n}") == "done"
    assert shop.add(shop.erp_id, authority, "CN=one-more") == "certificates_too_many"


def test_repeated_command_adds_one_certificate(shop: Shop) -> None:
    draft, command = PinDraft(certificate=issue().pem), Command(op_id="key-1")
    done = [
        shop.certificates.add_certificate(shop.instance_id, shop.erp_id, draft, command=command)
        for _ in range(2)
    ]
    assert done[0].value == done[1].value
    assert [each.replayed for each in done] == [False, True]


def test_last_certificate_is_kept_unless_forced(shop: Shop) -> None:
    policy = make_policy(mode="all", methods=["certificate"])
    pin = shop.certificates.add_certificate(
        shop.instance_id, shop.erp_id, PinDraft(certificate=issue().pem)
    ).value
    shop.world.access.put_policy(shop.instance_id, policy, expected_version=2)

    def remove(insistence: Insistence) -> str:
        return outcome(
            lambda: shop.certificates.remove_certificate(
                shop.instance_id, shop.erp_id, pin.certificate_id, insistence=insistence
            )
        )

    assert remove(Insistence()) == "would_lock_out_everybody"
    assert remove(Insistence(force=True)) == "done"
    assert remove(Insistence(force=True)) == "certificate_not_found"


def test_events_name_no_subject_which_may_be_a_person(shop: Shop) -> None:
    shop.add(shop.erp_id, issue("CN=Erika Mustermann,O=ACME"))
    events = shop.world.databases.open(shop.instance_id).read(
        lambda reader: list_events(reader, after=0, limit=100)
    )
    (event,) = [each for each in events if each.type == "access.certificate_added"]
    assert set(event.data) == {"certificate_id", "kind", "fingerprint", "not_after"}
