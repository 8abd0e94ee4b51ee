"""What customers might bring and HAProxy does not load is refused where they bring it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenancy.front.errors import HostCertificateUnfit
from tenancy.front.server_certificate import read_server_certificate
from tests.service.unfit_certificate import issue_under, make_for_pss_alone, make_forgeable

HOST = "licenses.acme.example"


def test_key_for_rsassa_pss_alone_is_refused(tmp_path: Path) -> None:
    made = make_for_pss_alone(tmp_path, HOST)
    with pytest.raises(HostCertificateUnfit, match="Keys are RSA"):
        read_server_certificate(made.pem, made.key_pem)


def test_forgeable_certificate_that_is_named_like_its_issuer_is_no_root(tmp_path: Path) -> None:
    made = make_forgeable(tmp_path, HOST)
    with pytest.raises(HostCertificateUnfit, match="SHA-256"):
        read_server_certificate(made.pem, made.key_pem)
    with pytest.raises(HostCertificateUnfit):
        read_server_certificate(made.pem + made.root, made.key_pem)


def test_root_may_be_as_weak_as_old_ones_are_for_it_is_left_out(tmp_path: Path) -> None:
    make_forgeable(tmp_path, HOST)
    good = issue_under(tmp_path, HOST)
    found = read_server_certificate(good.pem + good.root, good.key_pem)
    assert found.chain == good.pem
