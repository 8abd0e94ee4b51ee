from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from app.core.errors import DomainError
from tenancy.front.errors import (
    HostCertificateExpired,
    HostCertificateMalformed,
    HostCertificateUnfit,
    HostKeyUnfit,
)
from tenancy.front.host_proof import HostProof
from tenancy.front.server_certificate import check_for_host, read_server_certificate
from tests.service.pki import (
    CLIENT_AUTH,
    START,
    YEAR,
    issue_for_host,
    make_authority,
)

HOST = "erp.example.com"
NOW = START + timedelta(days=100)

_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def self_signed(key: _Key) -> tuple[str, str]:
    """PEM of a certificate for the host, and of its key."""
    name = x509.Name.from_rfc4514_string(f"CN={HOST}")
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name.from_rfc4514_string("CN=somebody"))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(START)
        .not_valid_after(START + YEAR)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, digest)
    )
    pem = certificate.public_bytes(Encoding.PEM).decode()
    return pem, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def code_of(chain: str, key: str, host: str = HOST) -> str:
    try:
        check_for_host(read_server_certificate(chain, key), host, now=NOW)
    except DomainError as error:
        return error.code
    return "fits"


def test_certificate_chain_and_key_are_read_together() -> None:
    authority = make_authority()
    issued = issue_for_host(HOST, "*.example.org", issuer=authority)
    found = read_server_certificate(issued.pem + authority.pem, issued.key_pem)
    assert found.fingerprint == issued.fingerprint
    assert (found.subject, found.issuer) == (f"CN={HOST}", authority.subject)
    assert found.names == (HOST, "*.example.org")
    assert found.not_after == START + YEAR
    assert found.chain == issued.pem, "whoever trusts a root has it"
    assert "PRIVATE" not in found.chain
    assert found.key.startswith("-----BEGIN PRIVATE KEY-----")
    assert found.key not in repr(found)
    for host in (HOST, "crm.example.org"):
        check_for_host(found, host, now=NOW)


def test_chain_lasts_as_long_as_its_shortest_part() -> None:
    authority = make_authority(lasts=timedelta(days=200))
    issued = issue_for_host(HOST, issuer=authority)
    found = read_server_certificate(issued.pem + authority.pem, issued.key_pem)
    assert found.not_after == START + timedelta(days=200)


@pytest.mark.parametrize(
    ("make_key", "wanted"),
    [
        pytest.param(lambda: rsa.generate_private_key(65537, 2048), "fits", id="RSA-2048"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP256R1()), "fits", id="P-256"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP384R1()), "fits", id="P-384"),
        pytest.param(ed25519.Ed25519PrivateKey.generate, "fits", id="Ed25519"),
        pytest.param(
            lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 - what is to be refused
            "host_certificate_unfit",
            id="RSA-1024",
        ),
        pytest.param(
            lambda: ec.generate_private_key(ec.SECP256K1()), "host_certificate_unfit", id="secp256k1"
        ),
    ],
)
def test_keys_are_of_a_kind_and_length_that_is_secure(make_key: Callable[[], _Key], wanted: str) -> None:
    assert code_of(*self_signed(make_key())) == wanted


def test_forgeable_signature_is_refused() -> None:
    chain, key = self_signed(rsa.generate_private_key(65537, 2048))
    sha256, sha1 = (bytes.fromhex(f"2a864886f70d0101{each}") for each in ("0b", "05"))
    der = x509.load_pem_x509_certificate(chain.encode()).public_bytes(Encoding.DER)
    assert der.count(sha256) == 2
    forgeable = x509.load_der_x509_certificate(der.replace(sha256, sha1)).public_bytes(Encoding.PEM)
    assert code_of(forgeable.decode(), key) == "host_certificate_unfit"


@pytest.mark.parametrize(
    "chain",
    [
        "",
        "MIIB",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        issue_for_host(HOST).key_pem,
        issue_for_host(HOST).pem * 7,
        issue_for_host(HOST).pem + issue_for_host(HOST).key_pem,
        "x" * 10_000_000,
    ],
    ids=["empty", "short", "damaged", "list", "key", "many", "with key", "long"],
)
def test_what_is_no_chain_is_refused(chain: str) -> None:
    with pytest.raises(HostCertificateMalformed):
        read_server_certificate(chain, issue_for_host(HOST).key_pem)


def with_unreadable_subject(pem: str, subject: bytes) -> str:
    """The same with a byte in the subject that no UTF-8 has; its signature is no longer good."""
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
    assert subject in der
    return ssl.DER_cert_to_PEM_cert(der.replace(subject, subject[:-1] + b"\xff", 1))


def test_certificate_whose_subject_nobody_can_read_is_refused() -> None:
    root = make_authority("CN=root")
    issued = issue_for_host(HOST, issuer=root)
    for chain in (
        # Its name comes first among its subject, then among its alternative names.
        with_unreadable_subject(issued.pem, HOST.encode()),
        issued.pem + with_unreadable_subject(root.pem, b"root"),
    ):
        with pytest.raises(HostCertificateMalformed):
            read_server_certificate(chain, issued.key_pem)


def test_key_must_be_that_of_the_certificate_and_open() -> None:
    issued = issue_for_host(HOST)
    locked = issued.key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    ).decode()
    agreement = x25519.X25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for key in (
        issue_for_host(HOST).key_pem,
        locked,
        agreement.decode(),
        issued.pem,
        "",
        "x" * 20_000,
        "\udcff",
    ):
        with pytest.raises(HostKeyUnfit) as refused:
            read_server_certificate(issued.pem, key)
        assert refused.value.__cause__ is None
        assert "secret" not in str(refused.value)


def test_chain_out_of_order_or_with_a_stranger_in_it_is_refused() -> None:
    root = make_authority("CN=root")
    issued = issue_for_host(HOST, issuer=root)
    stranger = make_authority("CN=root")
    for chain in (root.pem + issued.pem, issued.pem + stranger.pem, issued.pem + issued.pem):
        with pytest.raises((HostCertificateUnfit, HostKeyUnfit)):
            read_server_certificate(chain, issued.key_pem)


def test_certificate_of_another_host_or_for_clients_or_run_out_is_refused() -> None:
    issued = issue_for_host(HOST)
    assert code_of(issued.pem, issued.key_pem, "crm.example.com") == "host_certificate_unfit"
    client = issue_for_host(HOST, usage=CLIENT_AUTH)
    assert code_of(client.pem, client.key_pem) == "host_certificate_unfit"
    old = issue_for_host(HOST, lasts=timedelta(days=99))
    with pytest.raises(HostCertificateExpired):
        check_for_host(read_server_certificate(old.pem, old.key_pem), HOST, now=NOW)
    early = issue_for_host(HOST, not_before=NOW + timedelta(days=1))
    assert code_of(early.pem, early.key_pem) == "fits", "it is uploaded before it begins"


def test_common_name_alone_proves_nothing() -> None:
    issued = issue_for_host("crm.example.com")
    assert code_of(issued.pem, issued.key_pem, HOST) == "host_certificate_unfit"


def test_host_name_is_proven_by_a_trusted_authority_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    public, forger = make_authority("CN=Public"), make_authority("CN=Public")
    file = tmp_path_factory.mktemp("trust") / "roots.pem"
    file.write_text(make_authority("CN=Other").pem + public.pem)
    proof = HostProof(file)

    def code(issuer: object, host: str = HOST) -> str:
        issued = issue_for_host(HOST, issuer=issuer)  # type: ignore[arg-type]
        try:
            proof.check(read_server_certificate(issued.pem, issued.key_pem), host, now=NOW)
        except DomainError as error:
            return error.code
        return "proven"

    assert code(public) == "proven"
    assert code(public, "crm.example.com") == "host_not_proven"
    assert code(forger) == "host_not_proven"
    assert code(None) == "host_not_proven"
