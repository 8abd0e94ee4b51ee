"""Certificates, authorities, revocation lists and crt-lists against a real HAProxy."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from lb.errors import HaproxyArgumentInvalid, HaproxyRejected, HaproxyTooLarge
from lb.haproxy_stats import FileStatus
from tests.integration.lb.stats_site import StatsSite, pem_of, running_site
from tests.service.pki import START, YEAR, Issued, issue, issue_for_host, make_authority, make_revocation_list


def test_certificate_is_exchanged_and_shown_to_new_callers(site: StatsSite) -> None:
    name = site.file("a.example.pem")
    newer = issue_for_host("a.example", "www.a.example", issuer=site.authority)
    site.runtime.certificates.replace(name, pem_of(newer, site.authority))
    shown = site.runtime.certificates.show(name)
    assert shown.facts is not None
    assert int(shown.facts.serial, 16) == newer.certificate.serial_number
    assert shown.facts.alternative_names == ("DNS:a.example", "DNS:www.a.example")
    assert shown.facts.not_after == newer.certificate.not_valid_after_utc
    assert (shown.status, shown.facts.subject, shown.facts.issuer) == (
        FileStatus.USED,
        "/CN=a.example",
        "/CN=Front CA",
    )
    assert shown.chain == ("/CN=Front CA",)
    assert _served(site, "a.example").serial_number == newer.certificate.serial_number


def test_key_of_another_certificate_is_refused_and_the_old_one_stays(site: StatsSite) -> None:
    name = site.file("a.example.pem")
    good, other = site.hosts["a.example"], issue_for_host("a.example", issuer=site.authority)
    with pytest.raises(HaproxyRejected) as refused:
        site.runtime.certificates.replace(name, good.pem + other.key_pem)
    assert "inconsistencies" in refused.value.answer
    assert site.runtime.certificates.pending() is None
    assert _served(site, "a.example").serial_number == good.certificate.serial_number


def test_open_transaction_of_another_file_never_takes_this_ones_content(site: StatsSite) -> None:
    certificates = site.runtime.certificates
    first, second = site.file("a.example.pem"), site.file("b.example.pem")
    newer = pem_of(issue_for_host("b.example", issuer=site.authority))
    certificates.set(first, pem_of(site.hosts["a.example"]))
    with pytest.raises(HaproxyRejected) as refused:
        certificates.set(second, newer)
    assert first in refused.value.answer
    assert certificates.pending() is None, "what had got mixed up is given up"
    with pytest.raises(HaproxyRejected):
        certificates.commit_change(first)


def test_replace_gives_up_what_somebody_has_left_open(site: StatsSite) -> None:
    certificates = site.runtime.certificates
    certificates.set(site.file("a.example.pem"), pem_of(issue_for_host("x.example", issuer=site.authority)))
    newer = issue_for_host("b.example", issuer=site.authority)
    certificates.replace(site.file("b.example.pem"), pem_of(newer))
    assert _served(site, "b.example").serial_number == newer.certificate.serial_number
    assert _served(site, "a.example").serial_number == site.hosts["a.example"].certificate.serial_number


def test_change_is_begun_given_up_and_committed_step_by_step(site: StatsSite) -> None:
    certificates = site.runtime.certificates
    name = site.file("a.example.pem")
    newer = issue_for_host("a.example", issuer=site.authority)
    certificates.set(name, pem_of(newer))
    assert certificates.pending() == name
    certificates.abort_change(name)
    assert certificates.pending() is None
    certificates.set(name, pem_of(newer))
    certificates.commit_change(name)
    assert _served(site, "a.example").serial_number == newer.certificate.serial_number
    for attempt in (certificates.abort_change, certificates.commit_change):
        with pytest.raises(HaproxyRejected):
            attempt(name)


def test_host_comes_and_goes_with_its_certificate(site: StatsSite) -> None:
    certificates, lists = site.runtime.certificates, site.runtime.crt_lists
    name, file = site.file("c.example.pem"), site.file("list.txt")
    issued = issue_for_host("c.example", issuer=site.authority)
    certificates.new(name)
    assert (certificates.show(name).status, certificates.show(name).facts) == (FileStatus.EMPTY, None)
    with pytest.raises(HaproxyRejected):
        lists.add(file, name)
    certificates.replace(name, pem_of(issued))
    assert certificates.show(name).status is FileStatus.UNUSED
    lists.add(
        file, name, filters=("c.example", "*.c.example"), options=("alpn h2,http/1.1", "ssl-min-ver TLSv1.2")
    )
    assert _served(site, "www.c.example").serial_number == issued.certificate.serial_number
    (entry,) = [each for each in lists.show(file) if each.certificate == name]
    assert (entry.filters, entry.options) == (
        ("c.example", "*.c.example"),
        "alpn h2,http/1.1 ssl-min-ver TLSv1.2",
    )
    with pytest.raises(HaproxyRejected) as used:
        certificates.delete(name)
    assert "in use" in used.value.answer
    lists.delete(file, name, line=entry.line)
    certificates.delete(name)
    assert name not in certificates.names()
    assert _served(site, "www.c.example").serial_number == site.hosts["a.example"].certificate.serial_number


def test_line_of_a_crt_list_that_is_not_clear_is_refused(site: StatsSite) -> None:
    lists, file, name = site.runtime.crt_lists, site.file("list.txt"), site.file("a.example.pem")
    lists.add(file, name, filters=("other.example",))
    lines = [each.line for each in lists.show(file) if each.certificate == name]
    assert len(lines) == 2
    for line in (None, 99):
        with pytest.raises(HaproxyRejected):
            lists.delete(file, name, line=line)
    lists.delete(file, name, line=lines[1])
    assert [each.line for each in lists.show(file) if each.certificate == name] == lines[:1]
    assert lists.files() == (file,)


def test_authorities_are_exchanged_together(site: StatsSite) -> None:
    name, other = site.file("ca.pem"), make_authority("CN=Other CA")
    site.runtime.authorities.replace(name, site.authority.pem + other.pem + other.pem)
    shown = site.runtime.authorities.show(name)
    assert {each.subject for each in shown} == {"/CN=Front CA", "/CN=Other CA"}
    assert {int(each.serial, 16) for each in shown} == {
        site.authority.certificate.serial_number,
        other.certificate.serial_number,
    }
    site.runtime.authorities.replace(name, other.pem)
    assert [each.subject for each in site.runtime.authorities.show(name)] == ["/CN=Other CA"]


def test_revocation_lists_are_exchanged_together(site: StatsSite) -> None:
    name, other = site.file("crl.pem"), make_authority("CN=Other CA")
    client = issue("CN=erp", issuer=site.authority)
    lists = make_revocation_list(site.authority, client) + make_revocation_list(other)
    site.runtime.revocation_lists.replace(name, lists)
    shown = {each.issuer: each for each in site.runtime.revocation_lists.show(name)}
    assert {issuer: each.listed for issuer, each in shown.items()} == {"/CN=Front CA": 1, "/CN=Other CA": 0}
    expected = x509.load_pem_x509_crl(make_revocation_list(other).encode())
    assert shown["/CN=Other CA"].next_update == expected.next_update_utc


def test_certificates_given_for_a_revocation_list_do_not_empty_it(site: StatsSite) -> None:
    before = site.runtime.revocation_lists.show(site.file("crl.pem"))
    with pytest.raises(HaproxyArgumentInvalid):
        site.runtime.revocation_lists.replace(site.file("crl.pem"), site.authority.pem)
    with pytest.raises(HaproxyArgumentInvalid):
        site.runtime.authorities.replace(site.file("ca.pem"), make_revocation_list(site.authority))
    assert site.runtime.revocation_lists.show(site.file("crl.pem")) == before


def test_block_that_is_no_certificate_is_refused_and_nothing_changes(site: StatsSite) -> None:
    broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    with pytest.raises(HaproxyRejected):
        site.runtime.authorities.replace(site.file("ca.pem"), site.authority.pem + broken)
    assert [each.subject for each in site.runtime.authorities.show(site.file("ca.pem"))] == ["/CN=Front CA"]
    broken_list = broken.replace("CERTIFICATE", "X509 CRL")
    with pytest.raises(HaproxyRejected):
        site.runtime.revocation_lists.replace(
            site.file("crl.pem"), make_revocation_list(site.authority) + broken_list
        )
    assert len(site.runtime.revocation_lists.show(site.file("crl.pem"))) == 1


@pytest.mark.parametrize("kind", ["authorities", "revocation_lists"])
def test_files_of_authorities_and_lists_are_made_and_forgotten(site: StatsSite, kind: str) -> None:
    files = site.runtime.authorities if kind == "authorities" else site.runtime.revocation_lists
    files.new("/new.pem")
    with pytest.raises(HaproxyRejected):
        files.new("/new.pem")
    assert "/new.pem" in files.names()
    assert files.show("/new.pem") == ()
    files.delete("/new.pem")
    assert "/new.pem" not in files.names()
    for attempt in (files.delete, files.show, files.commit_change, files.abort_change):
        with pytest.raises(HaproxyRejected):
            attempt("/new.pem")


def test_file_that_the_configuration_needs_is_not_forgotten(site: StatsSite) -> None:
    attempts: tuple[Callable[[], object], ...] = (
        lambda: site.runtime.certificates.delete(site.file("a.example.pem")),
        lambda: site.runtime.authorities.delete(site.file("ca.pem")),
        lambda: site.runtime.revocation_lists.delete(site.file("crl.pem")),
    )
    for attempt in attempts:
        with pytest.raises(HaproxyRejected) as refused:
            attempt()
        assert "in use" in refused.value.answer


def test_what_is_not_there_is_refused(site: StatsSite) -> None:
    runtime, pem = site.runtime, pem_of(site.hosts["a.example"])
    attempts: tuple[Callable[[], object], ...] = (
        lambda: runtime.certificates.show("/nowhere.pem"),
        lambda: runtime.certificates.replace("/nowhere.pem", pem),
        lambda: runtime.authorities.replace("/nowhere.pem", site.authority.pem),
        lambda: runtime.crt_lists.show("/nowhere.txt"),
        lambda: runtime.crt_lists.add("/nowhere.txt", site.file("a.example.pem")),
        lambda: runtime.crt_lists.add(site.file("list.txt"), "/nowhere.pem"),
        lambda: runtime.crt_lists.delete(site.file("list.txt"), "/nowhere.pem"),
    )
    for attempt in attempts:
        with pytest.raises(HaproxyRejected):
            attempt()


def test_list_longer_than_the_buffer_is_refused_before_it_is_sent(site: StatsSite) -> None:
    with pytest.raises(HaproxyTooLarge) as refused:
        site.runtime.revocation_lists.replace(site.file("crl.pem"), _long_list(site.authority, 400))
    assert "tune.bufsize" in refused.value.message
    assert site.runtime.revocation_lists.pending() is None
    assert site.runtime.revocation_lists.show(site.file("crl.pem"))[0].listed == 0


def test_list_of_95_kilobytes_is_taken_with_a_buffer_of_256_kilobytes() -> None:
    with running_site(buffer_bytes=262144) as site:
        text = _long_list(site.authority, 2000)
        assert len(text) // 1000 == 95
        site.runtime.revocation_lists.replace(site.file("crl.pem"), text)
        assert site.runtime.revocation_lists.show(site.file("crl.pem"))[0].listed == 2000


def _long_list(authority: Issued, count: int) -> str:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(START)
        .next_update(START + YEAR)
    )
    for number in range(count):
        entry = x509.RevokedCertificateBuilder().serial_number(2**120 + number)
        builder = builder.add_revoked_certificate(entry.revocation_date(START).build())
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _served(site: StatsSite, host: str) -> x509.Certificate:
    """The certificate that a caller gets who names this host."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(10)
        plain.connect(site.file("tls.sock"))
        with context.wrap_socket(plain, server_hostname=host) as secured:
            der = secured.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)
