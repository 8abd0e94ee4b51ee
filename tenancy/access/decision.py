"""Whether a call is let in. Pure.

    credentials sent ──► unknown here? ─► 404    wrong or disabled? ─► 401         whatever else the policy says:
           │ right, or none sent                                                   a secret that is sent must be right
           ▼
    network → certificate → Basic, in this order; `all`: the first that fails refuses; `any`: one that holds admits

A user name that an instance does not know looks like an instance that does not exist, so that one customer's
credentials learn nothing about another; this comes before the network check because otherwise the answer
would differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from app.core.ids import ApiClientId
from tenancy.access.policy import AccessPolicy, Address, KnownClient, Method, Network, Scope
from tenancy.credential import CredentialKey
from tenancy.errors import ScopeMissing

BasicCredentials = tuple[str, str]
DenialKind = Literal[
    "access_closed",
    "network_not_allowed",
    "certificate_missing",
    "credentials_missing",
    "credentials_invalid",
    "instance_not_found",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is calling, as it is written into ledger, log and audit.

    Attributes:
        name: the user name, or `network:192.0.2.0/24`.
        client_id: None when a network alone was let in.
    """

    kind: Literal["client", "network"]
    name: str
    client_id: ApiClientId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The call is let in."""

    principal: Principal
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether the caller has the scope; `admin` has every one."""
        return scope in self.scopes or "admin" in self.scopes

    def require(self, scope: Scope) -> None:
        """Refuse unless the caller has the scope.

        Raises:
            ScopeMissing: he has not.
        """
        if not self.may(scope):
            raise ScopeMissing(
                f"These credentials lack the scope {scope}.", scope=scope, scopes=sorted(self.scopes)
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The call is not let in."""

    kind: DenialKind


Decision = Admitted | Denied


def decide(
    policy: AccessPolicy,
    clients: Mapping[str, KnownClient],
    *,
    peer: Address,
    basic: BasicCredentials | None,
    key: CredentialKey,
    certificate: None = None,
) -> Decision:
    """Decide about one call.

    Args:
        policy: the instance's.
        clients: the instance's API clients by user name.
        peer: the caller's address as the outermost trusted hop saw it.
        basic: user name and secret, if the call carries them.
        key: checks secrets.
        certificate: always None until the load balancer passes client certificates on.
    """
    judged = _judge_credentials(clients, basic, key)
    if isinstance(judged, Denied):
        return judged
    if not policy.methods:
        return Denied(kind="access_closed")
    network = policy.find_network(peer)
    held: dict[Method, bool] = {
        "network": network is not None,
        "certificate": certificate is not None,
        "basic": judged is not None,
    }
    denied = _weigh(policy, held)
    if denied is not None:
        return denied
    return _admit(policy, judged if "basic" in policy.methods else None, network)


def _judge_credentials(
    clients: Mapping[str, KnownClient], basic: BasicCredentials | None, key: CredentialKey
) -> KnownClient | Denied | None:
    if basic is None:
        return None
    username, secret = basic
    known = clients.get(username)
    right = key.matches(
        secret, known.secret_hash if known else None, owner=known.client.client_id if known else username
    )
    if known is None:
        return Denied(kind="instance_not_found")
    if not right or known.client.disabled_at is not None:
        return Denied(kind="credentials_invalid")
    return known


_DENIALS: Mapping[Method, DenialKind] = {
    "network": "network_not_allowed",
    "certificate": "certificate_missing",
    "basic": "credentials_missing",
}


def _weigh(policy: AccessPolicy, held: Mapping[Method, bool]) -> Denied | None:
    """None if the policy is kept; otherwise what to tell the caller."""
    missing = [method for method, holds in held.items() if method in policy.methods and not holds]
    if not missing or (policy.mode == "any" and len(missing) < len(policy.methods)):
        return None
    # With `any`, credentials are the one thing that the caller can still send.
    asked: Method = "basic" if policy.mode == "any" and "basic" in missing else missing[0]
    return Denied(kind=_DENIALS[asked])


def _admit(policy: AccessPolicy, known: KnownClient | None, network: Network | None) -> Admitted:
    if known is not None:
        client = known.client
        return Admitted(
            principal=Principal(kind="client", name=client.username, client_id=client.client_id),
            scopes=client.scopes,
        )
    return Admitted(
        principal=Principal(kind="network", name=f"network:{network}"), scopes=policy.network_scopes
    )
