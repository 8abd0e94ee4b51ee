"""Builds what looks after the load balancers, out of settings and services."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from app.core.clock import Clock
from app.core.errors import InputInvalid
from app.core.ids import LineId
from app.operations.front.access_book import AccessBook
from app.operations.front.default_certificate import DefaultCertificate, GivenFiles
from app.operations.front.desired import DesiredFront, DesiredParts
from app.operations.front.keeper import FrontKeeper
from app.operations.front.kept_front import KeptFront
from app.operations.front.setting import read_fronts
from app.settings import Settings
from lb.front.front import Front
from lb.front.settings import FrontSettings
from tenancy import InstanceDatabases, InstanceService
from tenancy.front.denied_service import DeniedNetworkService
from tenancy.front.host_service import HostService
from tenancy.line.service import LineService
from tenancy.line_file import line_directory
from tenancy.rule.service import RuleService
from tenancy.runner.line_link import front_address

FRONT_DIRECTORY: Final = "front"
"""Below the data directory: a directory for each load balancer, and `tls` with what is made here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontServices:
    """Where the front's wishes are read."""

    instances: InstanceService
    lines: LineService
    rules: RuleService
    hosts: HostService
    denied: DeniedNetworkService
    databases: InstanceDatabases


def front_settings(settings: Settings) -> tuple[FrontSettings, ...]:
    """The load balancers of this platform; whoever starts them needs the same.

    Raises:
        FrontSettingsUnfit: the setting is not written as it should be.
    """
    return read_fronts(settings.fronts, folder=_folder(settings), haproxy=settings.haproxy)


def make_front_keeper(settings: Settings, services: FrontServices, *, clock: Clock) -> FrontKeeper:
    """What looks after them; with none, it has nothing to do.

    Raises:
        FrontSettingsUnfit, InputInvalid: the settings contradict themselves.
    """
    chosen = front_settings(settings)
    access = AccessBook(services.databases)
    parts = DesiredParts(
        instances=services.instances,
        lines=services.lines,
        rules=services.rules,
        hosts=services.hosts,
        denied=services.denied,
        access=access,
        certificate=DefaultCertificate(
            _folder(settings) / "tls", names=_names(settings, chosen), given=_given(settings), clock=clock
        ),
        address_of=lambda line_id: _line_address(settings, line_id),
        control=_control_address(settings),
    )
    fronts = {each.name: KeptFront(each.name, Front(each, clock=clock), clock=clock) for each in chosen}
    return FrontKeeper(DesiredFront(parts, clock=clock), access, fronts)


def _folder(settings: Settings) -> Path:
    return settings.data_dir.resolve() / FRONT_DIRECTORY


def _line_address(settings: Settings, line_id: LineId) -> str:
    """Lines in this process are reached through the front's own socket, all of them."""
    if settings.lines == "processes":
        return front_address(line_directory(settings.data_dir.resolve(), line_id))
    return _control_address(settings)


def _control_address(settings: Settings) -> str:
    return f"unix@{settings.data_dir.resolve() / settings.front_socket.name}"


def _given(settings: Settings) -> GivenFiles | None:
    certificate, key = settings.front_certificate, settings.front_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise InputInvalid("A certificate for the front comes with its key.", field="front_certificate")
    return GivenFiles(certificate=certificate, key=key)


def _names(settings: Settings, chosen: Iterable[FrontSettings]) -> list[str]:
    """What a certificate that is made here stands for: what operators name, and addresses that are listened at."""
    found = [name for name in settings.front_names.replace(",", " ").split() if name]
    for bind in (bind for each in chosen for bind in each.binds):
        host = bind.address.rpartition(":")[0].strip("[]")
        if host != "*":
            found.append(host)
    return [_plain(name) for name in dict.fromkeys(found)]


def _plain(name: str) -> str:
    """Addresses in the form in which certificates are compared."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name.lower()
