"""What is done about access policies, and what the customer is shown of callers."""

from __future__ import annotations

from app.core.command import Command, Done
from app.core.db import Tx
from app.core.ids import InstanceId
from app.core.json import JsonObject
from tenancy.access import repository
from tenancy.access.client.lockout import CAREFUL, Insistence, check_lockout
from tenancy.access.doctor import Diagnosis, Patient, diagnose
from tenancy.access.failure import repository as failures
from tenancy.access.failure.log import AccessFailure
from tenancy.access.policy import AccessPolicy, VersionedPolicy
from tenancy.credential import CredentialKey
from tenancy.instance import InstanceOpener
from tenancy.transaction import carry_out


class AccessService:
    """Access policies of instances. Thread-safe, blocking.

    Every method raises `InstanceNotFound` or `InstanceNotReady` for an instance that is not there.
    """

    def __init__(self, opener: InstanceOpener, *, key: CredentialKey) -> None:
        self._opener = opener
        self._key = key

    def get_policy(self, instance_id: InstanceId) -> VersionedPolicy:
        """Read the policy and its version."""
        _, db = self._opener.open_ready(instance_id)
        return db.read(repository.get_policy)

    def put_policy(
        self,
        instance_id: InstanceId,
        policy: AccessPolicy,
        *,
        expected_version: int,
        insistence: Insistence = CAREFUL,
        command: Command | None = None,
    ) -> Done[VersionedPolicy]:
        """Replace the policy (made by `make_policy`); in force at every line within a second.

        Raises:
            PolicyVersionConflict: it has been changed since the caller read it.
            WouldLockOutCaller, WouldLockOutEverybody: and nobody insisted.
        """
        _, db = self._opener.open_ready(instance_id)

        def body(tx: Tx) -> JsonObject:
            repository.touch(tx)
            before = repository.load_rules(tx)
            repository.put_policy(tx, policy, expected_version=expected_version)
            after = repository.load_rules(tx)
            check_lockout(before, after, insistence, key=self._key, now=tx.now)
            version = expected_version + 1
            tx.emit(
                "access.policy_changed",
                subject=instance_id,
                data={**describe_policy(policy), "version": version},
                before={**describe_policy(before.policy), "version": expected_version},
            )
            return {"version": version}

        answer = carry_out(db, command, body)
        self._opener.note_access(instance_id)
        changed = VersionedPolicy(policy=policy, version=int(str(answer.value["version"])))
        return Done(value=changed, replayed=answer.replayed)

    def diagnose(self, instance_id: InstanceId, patient: Patient) -> Diagnosis:
        """Say what would become of a call by the rules as they are now. Writes nothing, and counts for nothing."""
        _, db = self._opener.open_ready(instance_id)
        held = db.read(repository.load_access)
        return diagnose(held, patient, key=self._key, now=db.clock.now())

    def list_failures(self, instance_id: InstanceId) -> list[AccessFailure]:
        """Who was refused, the latest first; bounded. At most a minute old."""
        _, db = self._opener.open_ready(instance_id)
        return db.read(failures.list_failures)


def describe_policy(policy: AccessPolicy) -> JsonObject:
    """What events say of a policy."""
    return {
        "mode": policy.mode,
        "methods": sorted(policy.methods),
        "networks": [str(network) for network in policy.networks],
        "network_scopes": sorted(policy.network_scopes),
    }
