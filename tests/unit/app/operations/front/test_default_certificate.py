from __future__ import annotations

import os
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from app.core.errors import DomainError
from app.operations.front.default_certificate import DefaultCertificate, GivenFiles
from tests.fake.clock import FakeClock
from tests.service.pki import Issued, issue, issue_for_host


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def made(folder: Path, clock: FakeClock, *names: str) -> DefaultCertificate:
    return DefaultCertificate(folder, names=names, given=None, clock=clock)


def test_first_start_makes_an_authority_and_what_it_certifies(tmp_path: Path, clock: FakeClock) -> None:
    default = made(tmp_path / "tls", clock, "wops.example", "192.0.2.7")
    found = default.read()
    assert (found.self_made, found.problem) == (True, None)
    assert found.pem.count("BEGIN CERTIFICATE") == 1
    assert found.pem.count("PRIVATE KEY") == 2
    root = x509.load_pem_x509_certificate(default.authority_file.read_bytes())
    own = x509.load_pem_x509_certificate(found.certificate.chain.encode())
    for host in (x509.DNSName("wops.example"), x509.DNSName("localhost")):
        verifier = PolicyBuilder().store(Store([root])).time(clock.now()).build_server_verifier(host)
        assert verifier.verify(own, [])[0] == own
    for file in (tmp_path / "tls").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    assert (tmp_path / "tls").stat().st_mode & 0o077 == 0


def test_next_start_finds_the_same_and_renews_it_in_time(tmp_path: Path, clock: FakeClock) -> None:
    first = made(tmp_path, clock, "a.example").read()
    root = (tmp_path / "ca.pem").read_text()
    default = made(tmp_path, clock, "a.example")
    assert default.read() == first
    clock.advance(timedelta(days=200))
    assert default.read() == first
    clock.advance(timedelta(days=100))
    renewed = default.read()
    assert renewed.certificate.not_after > first.certificate.not_after
    assert (tmp_path / "ca.pem").read_text() == root, "clients trust the authority"
    other = made(tmp_path, clock, "b.example").read()
    assert other != renewed, "another name is to be certified"


def test_half_made_or_lost_files_are_made_anew(tmp_path: Path, clock: FakeClock) -> None:
    first = made(tmp_path, clock).read()
    (tmp_path / "server.key").write_text(issue_for_host("x.example").key_pem)
    assert made(tmp_path, clock).read().certificate.fingerprint != first.certificate.fingerprint
    (tmp_path / "ca.key").unlink()
    (tmp_path / "server.pem").unlink()
    assert made(tmp_path, clock).read().self_made


def test_given_certificate_is_read_anew_when_it_changes(tmp_path: Path, clock: FakeClock) -> None:
    files = GivenFiles(certificate=tmp_path / "c.pem", key=tmp_path / "k.pem")

    def put(issued: Issued, *, key: str | None = None, at: int) -> None:
        files.certificate.write_text(issued.pem)
        files.key.write_text(key or issued.key_pem)
        for path in (files.certificate, files.key):
            os.utime(path, (at, at))

    default = DefaultCertificate(tmp_path / "tls", names=(), given=files, clock=clock)
    with pytest.raises(OSError, match=r"c\.pem"):
        default.read()
    first, second = issue_for_host("a.example"), issue_for_host("a.example")
    put(first, at=1)
    found = default.read()
    assert (found.certificate.fingerprint, found.self_made) == (first.fingerprint, False)
    put(second, key=first.key_pem, at=2)
    broken = default.read()
    assert (broken.certificate.fingerprint, broken.problem) == (first.fingerprint, "host_key_unfit")
    put(second, at=3)
    mended = default.read()
    assert (mended.certificate.fingerprint, mended.problem) == (second.fingerprint, None)
    files.key.unlink()
    assert default.read().problem == "front_certificate_unreadable"
    assert not (tmp_path / "tls").exists()


def test_problem_is_over_when_the_files_are_as_they_were(tmp_path: Path, clock: FakeClock) -> None:
    given = GivenFiles(certificate=tmp_path / "c.pem", key=tmp_path / "k.pem")
    issued = issue_for_host("wops.example")
    given.certificate.write_text(issued.pem)
    given.key.write_text(issued.key_pem)
    found = DefaultCertificate(tmp_path / "tls", names=(), given=given, clock=clock)
    assert found.read().problem is None
    given.key.rename(tmp_path / "away")
    assert found.read().problem == "front_certificate_unreadable"
    (tmp_path / "away").rename(given.key)
    assert found.read().problem is None


def test_given_certificate_that_has_run_out_is_no_start(tmp_path: Path, clock: FakeClock) -> None:
    old = issue_for_host("a.example", lasts=timedelta(days=1))
    files = GivenFiles(certificate=tmp_path / "c.pem", key=tmp_path / "k.pem")
    files.certificate.write_text(old.pem)
    files.key.write_text(old.key_pem)
    with pytest.raises(DomainError) as refused:
        DefaultCertificate(tmp_path, names=(), given=files, clock=clock).read()
    assert refused.value.code == "host_certificate_expired"


def test_given_certificate_that_runs_out_while_it_is_in_use_is_said(tmp_path: Path, clock: FakeClock) -> None:
    issued = issue_for_host("a.example")
    files = GivenFiles(certificate=tmp_path / "c.pem", key=tmp_path / "k.pem")
    files.certificate.write_text(issued.pem)
    files.key.write_text(issued.key_pem)
    default = DefaultCertificate(tmp_path, names=(), given=files, clock=clock)
    assert default.read().problem is None
    clock.advance(issued.certificate.not_valid_after_utc - clock.now())
    late = default.read()
    assert (late.certificate.fingerprint, late.problem) == (issued.fingerprint, "host_certificate_expired")


def test_given_certificate_whose_names_nobody_can_read_leaves_the_one_in_use(
    tmp_path: Path, clock: FakeClock
) -> None:
    issued = issue_for_host("a.example")
    files = GivenFiles(certificate=tmp_path / "c.pem", key=tmp_path / "k.pem")
    files.certificate.write_text(issued.pem)
    files.key.write_text(issued.key_pem)
    default = DefaultCertificate(tmp_path, names=(), given=files, clock=clock)
    default.read()
    unreadable = issued.der.replace(b"a.example", b"a.exampl\xff", 1)
    files.certificate.write_text(ssl.DER_cert_to_PEM_cert(unreadable))
    os.utime(files.certificate, (1, 1))
    found = default.read()
    assert (found.certificate.fingerprint, found.problem) == (
        issued.fingerprint,
        "host_certificate_malformed",
    )


def test_file_of_ours_that_names_nobody_is_made_anew(tmp_path: Path, clock: FakeClock) -> None:
    nobody = issue("CN=nobody", usage=None, not_before=clock.now(), lasts=timedelta(days=396))
    (tmp_path / "server.pem").write_text(nobody.pem)
    (tmp_path / "server.key").write_text(nobody.key_pem)
    assert made(tmp_path, clock).read().certificate.fingerprint != nobody.fingerprint
