"""What a customer does about access: his API clients and his access policy."""

from __future__ import annotations

from dataclasses import dataclass

from app.core.command import Command, Done
from app.core.db import Database, Tx
from app.core.ids import ApiClientId, InstanceId, new_id
from app.core.json import JsonObject
from tenancy.access import repository
from tenancy.access.policy import AccessPolicy, ApiClient, Scope, VersionedPolicy
from tenancy.credential import CLIENT_SECRET_PREFIX, CredentialKey, make_secret
from tenancy.errors import NameTaken
from tenancy.instance import InstanceOpener
from tenancy.name import check_name, make_username
from tenancy.transaction import carry_out


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """An API client with its new secret.

    Attributes:
        secret: shown this once; None when the call was a repeat, because nobody keeps secrets. Rotate it if
            the first answer was lost.
    """

    client: ApiClient
    secret: str | None


class ClientService:
    """API clients of instances. Each method is one transaction in the instance's database; thread-safe, blocking.

    The same command again changes nothing. Without a command, each call is an operation of its own.
    """

    def __init__(self, opener: InstanceOpener, *, key: CredentialKey) -> None:
        self._opener = opener
        self._key = key

    def add_client(
        self, instance_id: InstanceId, *, name: str, scopes: frozenset[Scope], command: Command | None = None
    ) -> Done[ClientCredentials]:
        """Add an API client with a generated user name and secret.

        Raises:
            NameUnfit, NameTaken: the client's name.
            InstanceNotFound, InstanceNotReady: the instance.
            OperationIdReused: the command came before with another name or other scopes.
        """
        instance, db = self._opener.open_ready(instance_id)
        client_id, secret = ApiClientId(new_id("cli")), make_secret(CLIENT_SECRET_PREFIX)
        new = repository.NewClient(
            client_id=client_id,
            name=check_name(name),
            username=make_username(instance.name, name),
            secret_hash=self._key.hash_secret(secret, owner=client_id),
            scopes=scopes,
        )

        def body(tx: Tx) -> JsonObject:
            repository.touch(tx)
            if not repository.add_client(tx, new):
                raise NameTaken("This instance has an API client of that name.", name=name)
            tx.emit("access.client_added", subject=client_id, data={"name": name, "scopes": sorted(scopes)})
            return {"client_id": client_id}

        answer = carry_out(db, command, body)
        return _show(db, str(answer.value["client_id"]), None if answer.replayed else secret)

    def rotate_client(
        self, instance_id: InstanceId, client_id: ApiClientId, *, command: Command | None = None
    ) -> Done[ClientCredentials]:
        """Give an API client a new secret; the old one ends at once, at every line within a second.

        Raises:
            ClientNotFound, InstanceNotFound, InstanceNotReady: there is nothing to rotate.
        """
        _, db = self._opener.open_ready(instance_id)
        secret = make_secret(CLIENT_SECRET_PREFIX)
        secret_hash = self._key.hash_secret(secret, owner=client_id)

        def body(tx: Tx) -> JsonObject:
            repository.touch(tx)
            repository.rotate_secret(tx, client_id, secret_hash=secret_hash)
            tx.emit("access.client_rotated", subject=client_id, data={})
            return {"client_id": client_id}

        answer = carry_out(db, command, body)
        return _show(db, client_id, None if answer.replayed else secret)

    def disable_client(
        self, instance_id: InstanceId, client_id: ApiClientId, *, command: Command | None = None
    ) -> Done[ApiClient]:
        """Shut an API client out, at every line within a second. Doing it twice changes nothing.

        Raises:
            ClientNotFound, InstanceNotFound, InstanceNotReady: there is nothing to disable.
        """
        _, db = self._opener.open_ready(instance_id)

        def body(tx: Tx) -> JsonObject:
            repository.touch(tx)
            repository.get_client(tx, client_id)
            if repository.disable_client(tx, client_id):
                tx.emit("access.client_disabled", subject=client_id, data={})
            return {}

        answer = carry_out(db, command, body)
        client = db.read(lambda reader: repository.get_client(reader, client_id))
        return Done(value=client, replayed=answer.replayed)

    def list_clients(self, instance_id: InstanceId) -> list[ApiClient]:
        """All API clients by name, the disabled ones too.

        Raises:
            InstanceNotFound, InstanceNotReady: the instance.
        """
        _, db = self._opener.open_ready(instance_id)
        return db.read(repository.list_clients)


class AccessService:
    """Access policies of instances. Thread-safe, blocking."""

    def __init__(self, opener: InstanceOpener) -> None:
        self._opener = opener

    def get_policy(self, instance_id: InstanceId) -> VersionedPolicy:
        """Read the policy and its version.

        Raises:
            InstanceNotFound, InstanceNotReady: the instance.
        """
        _, db = self._opener.open_ready(instance_id)
        return db.read(repository.get_policy)

    def put_policy(
        self,
        instance_id: InstanceId,
        policy: AccessPolicy,
        *,
        expected_version: int,
        command: Command | None = None,
    ) -> Done[VersionedPolicy]:
        """Replace the policy (made by `make_policy`); in force at every line within a second.

        Raises:
            PolicyVersionConflict: it has been changed since the caller read it.
            InstanceNotFound, InstanceNotReady: the instance.
        """
        _, db = self._opener.open_ready(instance_id)
        shown: JsonObject = {
            "mode": policy.mode,
            "methods": sorted(policy.methods),
            "networks": [str(network) for network in policy.networks],
            "network_scopes": sorted(policy.network_scopes),
        }

        def body(tx: Tx) -> JsonObject:
            repository.touch(tx)
            repository.put_policy(tx, policy, expected_version=expected_version)
            version = expected_version + 1
            tx.emit("access.policy_changed", subject=instance_id, data={**shown, "version": version})
            return {"version": version}

        answer = carry_out(db, command, body)
        changed = VersionedPolicy(policy=policy, version=int(str(answer.value["version"])))
        return Done(value=changed, replayed=answer.replayed)


def _show(db: Database, client_id: str, secret: str | None) -> Done[ClientCredentials]:
    client = db.read(lambda reader: repository.get_client(reader, ApiClientId(client_id)))
    credentials = ClientCredentials(client=client, secret=secret)
    return Done(value=credentials, replayed=secret is None, created=secret is not None)
