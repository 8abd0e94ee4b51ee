"""What customers and staff do about the rules of an instance, and what front doors read of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.core.command import Command, Done
from app.core.db import Database, Reader, Tx
from app.core.errors import DatabaseUnavailable
from app.core.ids import InstanceId, LineId, new_id
from app.core.json import JsonObject, dump_json
from editions import edition
from lb.routing import Line
from lb.rule.check import Finding, check_rules, find_problems
from lb.rule.decide import RequestFacts, choose, decide
from lb.rule.rule import RuleSet
from tenancy import repository as platform
from tenancy.access.client.record import ApiClient
from tenancy.errors import InstanceDatabaseMissing, InstanceNotReady
from tenancy.lifecycle.errors import InstanceErased
from tenancy.placement import line_names
from tenancy.record import Instance, check_limit
from tenancy.rule import repository
from tenancy.rule.document import describe_rules
from tenancy.rule.errors import (
    RulesNothingToUndo,
    RulesNotOffered,
    RuleVersionConflict,
    RuleVersionNotFound,
)
from tenancy.rule.record import FIRST_VERSION, JudgedRules, RuleTrial, RuleVersion, first_version
from tenancy.transaction import carry_out

_PAGE: Final = 100
AFTER_ALL: Final = 2**31 - 1
"""Above every version: the column's highest number."""

_MOST_FINDINGS: Final = 100
"""More than anybody reads; 62 rules may name four thousand clients that are not there. Our own decision."""

LinesOf = Callable[[Instance], Sequence[Line]]
ClientsOf = Callable[[InstanceId], Sequence[ApiClient]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """An instance as far as rules are about it.

    Attributes:
        clients: None if its own database does not answer.
    """

    instance: Instance
    lines: tuple[Line, ...]
    clients: Sequence[ApiClient] | None

    @property
    def usernames(self) -> Collection[str] | None:
        return None if self.clients is None else {each.username for each in self.clients}


def contracted_lines(instance: Instance) -> tuple[Line, ...]:
    """The lines that an instance has by its contract, all of one weight."""
    names = line_names(instance.placement_name, edition(instance.edition), lines=instance.lines)
    return tuple(Line(line_id=each) for each in names)


class RuleService:
    """Rules of instances in the platform database. Thread-safe, blocking.

    Every method about one instance raises `InstanceNotFound`, `InstanceNotReady`, `InstanceErased`, and
    `RulesNotOffered` for an edition whose one line is shared.

    Args:
        db: the platform database.
        lines: of an instance, as they are now.
        clients: of an instance, out of its own database.
    """

    def __init__(self, db: Database, *, clients: ClientsOf, lines: LinesOf = contracted_lines) -> None:
        self._db = db
        self._lines_of = lines
        self._clients_of = clients

    def get_rules(self, instance_id: InstanceId) -> JudgedRules:
        """The rules in force, and what is to be said of them."""
        scene = self._look(instance_id)
        version = self._db.read(lambda reader: _in_force(reader, scene.instance))
        return _judge(version, scene)

    def list_versions(
        self, instance_id: InstanceId, *, before: int = AFTER_ALL, limit: int = 25
    ) -> list[RuleVersion]:
        """Versions below a number, newest first.

        Raises:
            LimitUnfit: not 1 to 100.
        """
        check_limit(limit)

        def body(reader: Reader) -> list[RuleVersion]:
            instance = _get_offered(reader, instance_id)
            found = repository.list_versions(reader, instance_id, before=before, limit=limit)
            if len(found) < limit and before > FIRST_VERSION:
                found.append(first_version(instance.created_at))
            return found

        return self._db.read(body)

    def get_version(self, instance_id: InstanceId, version: int) -> RuleVersion:
        """One version.

        Raises:
            RuleVersionNotFound: the rules never had it.
        """
        return self._db.read(lambda reader: _get_version(reader, _get_offered(reader, instance_id), version))

    def put_rules(
        self,
        instance_id: InstanceId,
        rules: RuleSet,
        *,
        expected_version: int,
        reason: str = "",
        command: Command | None = None,
    ) -> Done[JudgedRules]:
        """Replace the rules; in force at every front within a second. The same again makes no new version.

        Raises:
            RuleInvalid: the rules cannot be; the first fault is named.
            RuleVersionConflict: they have been changed since the caller read them.
        """
        scene = self._look(instance_id)

        def decide_rules(_tx: Tx, _current: RuleVersion) -> tuple[RuleSet, int | None]:
            return rules, None

        return self._change(scene, decide_rules, expected_version, _with_reason(command, reason))

    def undo(
        self,
        instance_id: InstanceId,
        *,
        expected_version: int,
        to: int | None = None,
        reason: str = "",
        command: Command | None = None,
    ) -> Done[JudgedRules]:
        """Put an earlier version back, as a new one. Undone again, the rules are as before the first time.

        Args:
            instance_id: whose rules.
            expected_version: which the caller has seen.
            to: the version to put back; None: the one before.
            reason: why.
            command: who asks.

        Raises:
            RuleVersionConflict: the rules have been changed since the caller read them.
            RulesNothingToUndo: nobody has changed them yet.
            RuleVersionNotFound: there never was that version.
            RuleInvalid: that version cannot be any more, e.g. because a line is gone.
        """
        scene = self._look(instance_id)

        def decide_rules(tx: Tx, current: RuleVersion) -> tuple[RuleSet, int | None]:
            if to is None and current.version == FIRST_VERSION:
                raise RulesNothingToUndo("Nobody has changed the rules of this instance yet.")
            back = current.version - 1 if to is None else to
            return _get_version(tx, scene.instance, back).rules, back

        return self._change(scene, decide_rules, expected_version, _with_reason(command, reason))

    def try_out(
        self, instance_id: InstanceId, facts: RequestFacts, *, rules: RuleSet | None = None
    ) -> RuleTrial:
        """Say what would become of a request; changes nothing.

        Args:
            instance_id: whose request.
            facts: of the request.
            rules: to be asked instead of those in force.

        Raises:
            RuleInvalid: `rules` cannot be; the first fault is named.
        """
        scene = self._look(instance_id)
        version = None
        if rules is None:
            in_force = self._db.read(lambda reader: _in_force(reader, scene.instance))
            version, rules, findings = in_force.version, in_force.rules, _judge(in_force, scene).findings
        else:
            findings = check_rules(rules, lines=_ids(scene.lines), clients=scene.usernames)
        decision = decide(rules, facts, certificates_of(scene.clients or ()))
        return RuleTrial(
            version=version,
            rules=rules,
            lines=scene.lines,
            decision=decision,
            choice=choose(decision, scene.lines, request_key=new_id("try")),
            findings=findings[:_MOST_FINDINGS],
        )

    def list_in_force(self) -> dict[InstanceId, RuleVersion]:
        """All rule sets in force that have rules; as many reads as there are hundreds of them."""
        found: dict[InstanceId, RuleVersion] = {}
        after = ""
        while page := self._read_page(after):
            found.update(page)
            after = page[-1][0]
        return found

    def find_in_force(self, instance_ids: Collection[InstanceId]) -> dict[InstanceId, RuleVersion]:
        """The rule sets in force of some instances, without those that nobody has ever changed."""

        def body(reader: Reader) -> dict[InstanceId, RuleVersion]:
            found = ((each, repository.find_in_force(reader, each)) for each in instance_ids)
            return {each: version for each, version in found if version is not None}

        return self._db.read(body) if instance_ids else {}

    def _read_page(self, after: str) -> list[tuple[InstanceId, RuleVersion]]:
        return self._db.read(lambda reader: repository.list_in_force(reader, after=after, limit=_PAGE))

    def _look(self, instance_id: InstanceId) -> _Scene:
        instance = self._db.read(lambda reader: _get_offered(reader, instance_id))
        clients: Sequence[ApiClient] | None = None
        try:
            clients = self._clients_of(instance_id)
        except (DatabaseUnavailable, InstanceDatabaseMissing, InstanceNotReady):
            # Its database is away: who its clients are is not known now, and rules work without.
            clients = None
        return _Scene(instance=instance, lines=tuple(self._lines_of(instance)), clients=clients)

    def _change(
        self,
        scene: _Scene,
        decide_rules: Callable[[Tx, RuleVersion], tuple[RuleSet, int | None]],
        expected_version: int,
        command: Command,
    ) -> Done[JudgedRules]:
        instance = scene.instance

        def body(tx: Tx) -> JsonObject:
            current = _in_force(tx, instance)
            if current.version != expected_version:
                raise _conflict(expected_version)
            rules, restored = decide_rules(tx, current)
            check_rules(rules, lines=_ids(scene.lines), clients=scene.usernames)
            if describe_rules(rules) == describe_rules(current.rules):
                return {"version": current.version, "changed": False}
            _put_in_force(tx, instance, current, rules, restored)
            return {"version": current.version + 1, "changed": True}

        answer = carry_out(self._db, command, body)
        made = int(str(answer.value["version"]))
        version = self._db.read(lambda reader: _get_version(reader, instance, made))
        changed = bool(answer.value["changed"]) and not answer.replayed
        return Done(value=_judge(version, scene), replayed=answer.replayed, created=changed)


def certificates_of(clients: Sequence[ApiClient]) -> Mapping[str, tuple[str, ...]]:
    """Fingerprints of the certificates of API clients, by user name: rules know a client by them, too."""
    found = {
        each.username: tuple(pin.fingerprint for pin in each.certificates if pin.kind == "fingerprint")
        for each in clients
    }
    return {username: pins for username, pins in found.items() if pins}


def _put_in_force(
    tx: Tx, instance: Instance, current: RuleVersion, rules: RuleSet, restored: int | None
) -> None:
    origin = tx.origin
    new = RuleVersion(
        version=current.version + 1,
        rules=rules,
        actor_kind=origin.actor.kind,
        actor_id=origin.actor.actor_id,
        reason=origin.reason,
        created_at=tx.now,
        restored=restored,
    )
    if not repository.add_version(tx, instance.instance_id, new):
        raise _conflict(current.version)
    tx.emit(
        "instance.rules_changed",
        subject=instance.instance_id,
        data=_describe(new),
        before=_describe(current),
    )


def _describe(version: RuleVersion) -> JsonObject:
    """What the audit says of a version. The rules themselves stay readable, and the digest proves them."""
    document = describe_rules(version.rules)
    told: JsonObject = {
        "version": version.version,
        "rules": [each.name for each in version.rules.rules],
        "sha256": hashlib.sha256(dump_json(document).encode()).hexdigest(),
    }
    return told if version.restored is None else {**told, "restored": version.restored}


def _get_offered(reader: Reader, instance_id: InstanceId) -> Instance:
    instance = platform.get_instance(reader, instance_id)
    if instance.state == "erased":
        raise InstanceErased("The instance's data have been erased.")
    if not instance.is_kept:
        raise InstanceNotReady("The instance is not ready.", state=instance.state)
    if edition(instance.edition).server == "shared":
        raise RulesNotOffered(
            "This edition has one line, which serves other instances, too; there is nothing to choose from.",
            edition=instance.edition,
        )
    return instance


def _in_force(reader: Reader, instance: Instance) -> RuleVersion:
    found = repository.find_in_force(reader, instance.instance_id)
    return first_version(instance.created_at) if found is None else found


def _get_version(reader: Reader, instance: Instance, version: int) -> RuleVersion:
    if version == FIRST_VERSION:
        return first_version(instance.created_at)
    found = repository.find_version(reader, instance.instance_id, version)
    if found is None:
        raise RuleVersionNotFound("The rules never had this version.", version=version)
    return found


def _judge(version: RuleVersion, scene: _Scene) -> JudgedRules:
    found = find_problems(version.rules, lines=_ids(scene.lines), clients=scene.usernames)
    outdated = tuple(
        Finding(
            code=each.code,
            field=str(each.detail.get("field", "")),
            facts={name: value for name, value in each.detail.items() if name != "field"},
        )
        for each in found.errors
    )
    return JudgedRules(version=version, findings=(*outdated, *found.warnings)[:_MOST_FINDINGS])


def _ids(lines: Sequence[Line]) -> frozenset[LineId]:
    return frozenset(each.line_id for each in lines)


def _conflict(version: int) -> RuleVersionConflict:
    return RuleVersionConflict("The rules have been changed since you read them.", version=version)


def _with_reason(command: Command | None, reason: str) -> Command:
    asked = command or Command()
    return replace(asked, origin=replace(asked.origin, reason=reason)) if reason else asked
