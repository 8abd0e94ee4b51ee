"""What it costs to let a caller in, for each combination of methods. Method: README."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import combinations
from typing import Final

from app.core.clock import SystemClock
from app.core.db import Database, Tx
from app.core.ids import ApiClientId, CustomerId, InstanceId, new_id
from app.core.json import JsonObject
from app.core.migrate import upgrade
from tenancy import AccessCache, Address, CredentialKey, make_policy
from tenancy.access import repository
from tenancy.access.client import repository as clients
from tenancy.access.client.record import CertificatePin
from tenancy.access.decision import BasicCredentials, CallerCredentials, decide
from tenancy.access.failure.throttle import FREE_FAILURES
from tenancy.access.policy import METHODS, AccessPolicy, InstanceProfile, Method, Mode
from tenancy.access.rule import AccessSnapshot
from tests.bench.result import BenchPlace, BenchResult, median, settle_memory
from tests.service.pki import Issued, issue, make_authority

NAME: Final = "access_cost"
_MARK_US: Final = 100.0
_ROUNDS: Final = 15
_CALLS: Final = 400
_OTHERS: Final = 50
"""Other clients of the instance, and networks in front of the caller's: more than a customer has."""
_PEER: Final = ip_address("192.0.2.7")
_KEY: Final = CredentialKey(bytes(32))
_SUBJECT: Final = "CN=erp,O=ACME"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caller:
    """What the caller sends."""

    peer: Address
    basic: BasicCredentials
    own: Issued
    issued: Issued


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One combination."""

    name: str
    policy: AccessPolicy
    basic: BasicCredentials | None
    certificate: bytes | None


def run(place: BenchPlace) -> BenchResult:
    """Measure in turns; the value is the dearest combination, not held in memory."""
    url = f"sqlite:///{place.folder / 'instance.db'}"
    upgrade(url, "instance")
    db = Database(url, clock=SystemClock())
    try:
        caller = _prepare(db)
        cases = _cases(caller)
        measured: dict[tuple[str, str], list[float]] = {}
        settle_memory()
        for _ in range(_ROUNDS):
            for case in cases:
                for way, call in _ways(db, case).items():
                    measured.setdefault((case.name, way), []).append(_us_each(call))
    finally:
        db.close()
    return _result({pair: median(each) for pair, each in measured.items()})


def _prepare(db: Database) -> _Caller:
    authority = make_authority(not_before=datetime(2026, 1, 1, tzinfo=UTC))
    now = db.clock.now()
    begun = now - timedelta(days=1)
    caller = _Caller(
        peer=_PEER,
        basic=("bench.erp", "secret-erp"),
        own=issue("CN=own,O=ACME", not_before=begun),
        issued=issue(_SUBJECT, issuer=authority, not_before=begun),
    )
    db.run_tx(new_id("op"), lambda tx: _store(tx, caller, authority))
    return caller


def _store(tx: Tx, caller: _Caller, authority: Issued) -> JsonObject:
    repository.write_profile(tx, _profile())
    for n in range(_OTHERS + 1):
        name = "erp" if n == _OTHERS else f"other-{n}"
        client_id = ApiClientId(f"cli_{name}")
        clients.add_client(
            tx,
            clients.NewClient(
                client_id=client_id,
                name=name,
                username=f"bench.{name}",
                secret_id=f"sec_{name}",
                secret_hash=_KEY.hash_secret(f"secret-{name}", owner=client_id),
                scopes=frozenset({"read"}),
            ),
        )
    for each, pinned, subject in (("own", caller.own, None), ("ca", authority, _SUBJECT)):
        clients.add_pin(tx, _pin(each, pinned, subject, now=tx.now))
    return {}


def _pin(name: str, pinned: Issued, subject: str | None, *, now: datetime) -> CertificatePin:
    return CertificatePin(
        certificate_id=f"crt_{name}",
        client_id=ApiClientId("cli_erp"),
        kind="fingerprint" if subject is None else "issuer_subject",
        fingerprint=pinned.fingerprint,
        issuer=None if subject is None else pinned.pem,
        subject=subject or pinned.subject,
        not_after=pinned.certificate.not_valid_after_utc,
        created_at=now,
    )


def _profile() -> InstanceProfile:
    return InstanceProfile(
        instance_id=InstanceId("ins_bench"),
        name="bench",
        customer_id=CustomerId("cus_bench"),
        edition="dedicated",
        firm_code=6_000_010,
        pool="shared",
        lines=(),
        web_services=True,
        config_version=1,
    )


def _cases(caller: _Caller) -> list[_Case]:
    networks = [*(f"10.{n}.0.0/16" for n in range(_OTHERS)), "192.0.2.0/24"]
    modes: tuple[Mode, ...] = ("all", "any")
    found = []
    for count in range(1, len(METHODS) + 1):
        for methods in combinations(METHODS, count):
            pins = [("own", caller.own), ("ca", caller.issued)] if "certificate" in methods else [("", None)]
            for mode in modes:
                policy = make_policy(
                    mode=mode, methods=methods, networks=networks if "network" in methods else ()
                )
                found += [_case(mode, methods, policy, caller, pin) for pin in pins]
    return found


def _case(
    mode: Mode,
    methods: tuple[Method, ...],
    policy: AccessPolicy,
    caller: _Caller,
    pin: tuple[str, Issued | None],
) -> _Case:
    kind, certificate = pin
    return _Case(
        name=f"{mode}:{'+'.join(methods)}{':' + kind if kind else ''}",
        policy=policy,
        basic=caller.basic if "basic" in methods else None,
        certificate=None if certificate is None else certificate.der,
    )


def _ways(db: Database, case: _Case) -> dict[str, Callable[[], object]]:
    """Held in memory, decided anew, and held while somebody else is being slowed down."""
    version = db.read(repository.get_policy).version
    db.run_tx(new_id("op"), lambda tx: _put(tx, case.policy, version))
    held, slowed = (AccessCache(db, clock=db.clock, key=_KEY) for _ in range(2))
    sent = CallerCredentials(peer=_PEER, basic=case.basic, certificate=case.certificate)
    snapshot: AccessSnapshot = db.read(repository.load_access)
    for cache in (held, slowed):
        cache.check(peer=_PEER, basic=case.basic, certificate=case.certificate)
    for _ in range(FREE_FAILURES):
        _fail(slowed)

    def from_memory(cache: AccessCache) -> Callable[[], object]:
        def call() -> object:
            found = cache.check_held(peer=_PEER, basic=case.basic, certificate=case.certificate)
            return found or cache.check(peer=_PEER, basic=case.basic, certificate=case.certificate)

        return call

    def decided() -> object:
        return decide(snapshot.rules, sent, key=_KEY, now=db.clock.now())

    return {"held": from_memory(held), "decided": decided, "held_beside_a_flood": from_memory(slowed)}


def _put(tx: Tx, policy: AccessPolicy, version: int) -> JsonObject:
    repository.touch(tx)
    repository.put_policy(tx, policy, expected_version=version)
    return {}


def _fail(cache: AccessCache) -> None:
    try:
        cache.check(peer=ip_address("192.0.2.66"), basic=("bench.other-1", "wrong"))
    except Exception as refused:
        if getattr(refused, "code", "") != "credentials_invalid":
            raise


def _us_each(call: Callable[[], object]) -> float:
    started = time.process_time()
    for _ in range(_CALLS):
        call()
    return (time.process_time() - started) / _CALLS * 1e6


def _result(found: dict[tuple[str, str], float]) -> BenchResult:
    value = max(found.values())
    detail: dict[str, JsonObject] = {}
    for (name, way), each in found.items():
        detail.setdefault(name, {})[f"{way}_us"] = round(each, 2)
    return BenchResult(
        bench=NAME,
        value=value,
        unit="us",
        mark=f"< {_MARK_US:g} us each",
        ok=value < _MARK_US,
        detail={**detail},
    )
