"""The front's certificates, authorities and revocation lists as files, and which host each certificate is for. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lb.front.configuration import AUTHORITIES, CERTIFICATE_LIST, REVOCATION_LISTS
from lb.front.model import FrontModel, digest_of
from lb.front.nobody import NOBODY_AUTHORITY, NOBODY_REVOCATION_LIST
from lb.front.pem import (
    authorities_text,
    check_authority,
    check_own,
    check_revocation_lists,
    own_text,
    revocation_lists_text,
)
from lb.front.safe_text import HOST, require
from lb.front.settings import FrontSettings
from lb.front.state import FrontHost, FrontState

DEFAULT: Final = "default.pem"
FOLDER: Final = "tls"
_HOST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """What is rendered of them; as in `FrontModel`."""

    certificates: Mapping[str, str]
    hosts: Mapping[str, str]
    authorities: str
    revocation_lists: str
    files: Mapping[str, str] = field(repr=False)


def render_certificates(
    state: FrontState, settings: FrontSettings, former: FrontModel | None
) -> CertificateFiles:
    """Render them; what is new is looked at closely.

    Raises:
        FrontCertificateUnfit: something cannot be used.
        FrontStateUnfit: a host is none, or its id is none of ours.
    """
    owned = {DEFAULT: own_text(DEFAULT, state.default_pem)}
    hosts: dict[str, str] = {}
    for host in state.hosts.values():
        name = certificate_name(host)
        owned[name] = own_text(host.host_id, host.pem)
        hosts[name] = require("host", host.host, HOST)
    authorities = NOBODY_AUTHORITY + authorities_text(_sorted(state.authorities))
    lists = NOBODY_REVOCATION_LIST + revocation_lists_text(_sorted(state.revocation_lists))
    digests = {name: digest_of(text) for name, text in owned.items()}
    _check_new(owned, digests, former)
    if former is None or digest_of(authorities) != former.authorities:
        for key in sorted(state.authorities):
            check_authority(key, state.authorities[key])
    if former is None or digest_of(lists) != former.revocation_lists:
        check_revocation_lists(lists)
    files = {f"{FOLDER}/{name}": text for name, text in owned.items()}
    files |= {AUTHORITIES: authorities, REVOCATION_LISTS: lists, CERTIFICATE_LIST: _list(settings, hosts)}
    return CertificateFiles(
        certificates=digests,
        hosts=hosts,
        authorities=digest_of(authorities),
        revocation_lists=digest_of(lists),
        files=files,
    )


def certificate_name(host: FrontHost) -> str:
    """The name of a host's file.

    Raises:
        FrontStateUnfit: its id is none of ours.
    """
    return f"host-{require('host_id', host.host_id, _HOST_ID)}.pem"


def _list(settings: FrontSettings, hosts: Mapping[str, str]) -> str:
    """The list of certificates: the first is for whoever names no host that is known."""
    folder = f"{settings.current}/{FOLDER}"
    lines = [f"{folder}/{DEFAULT}", *(f"{folder}/{name} {hosts[name]}" for name in sorted(hosts))]
    return "".join(f"{line}\n" for line in lines)


def _check_new(owned: Mapping[str, str], digests: Mapping[str, str], former: FrontModel | None) -> None:
    known = frozenset() if former is None else frozenset(former.certificates.values())
    for name, text in owned.items():
        if digests[name] not in known:
            check_own(name, text)


def _sorted(pems: Mapping[str, str]) -> list[str]:
    return [pems[key] for key in sorted(pems)]
