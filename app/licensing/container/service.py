"""What a vendor does with containers, and what staff decides about a contradicting one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.core.command import Command, Done
from app.core.db import Database, Reader, Tx
from app.core.ids import TransferId
from app.core.json import JsonObject
from app.licensing.container import repository
from app.licensing.container.container_rule import Container, ContainerState
from app.licensing.errors import ContainerNotInQuestion, TransferOpen
from app.licensing.license.license import License
from app.licensing.license.repository import list_container_licenses
from app.licensing.transfer.repository import find_open_transfer, unconfirm


class Decision(StrEnum):
    """How staff settles an unexpected state.

    `keep_recorded`: the books are right, the odd context is ignored.
    `accept_reported`: the container is right; what it lacks is programmed again with its next update, uncounted.
    """

    KEEP_RECORDED = "keep_recorded"
    ACCEPT_REPORTED = "accept_reported"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerView:
    """A container with what is in it and what is in the making for it."""

    container: Container
    licenses: tuple[License, ...]
    open_transfer: TransferId | None


class ContainerService:
    """Containers of one instance."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get_container(self, serial: str) -> ContainerView:
        """A container with its licences.

        Raises:
            ContainerNotFound: it has never sent a context here.
        """
        return self._db.read(lambda reader: _view(reader, serial))

    def block_container(self, serial: str, *, reason: str, command: Command) -> Done[ContainerView]:
        """Refuse everything for a container from now on; blocking a blocked one changes nothing.

        Raises:
            ContainerNotFound: it is not known.
        """

        def body(tx: Tx) -> JsonObject:
            repository.touch_container(tx, serial)
            container = repository.get_container(tx, serial)
            if container.state is ContainerState.BLOCKED:
                return {"new": False}
            repository.set_state(tx, serial, ContainerState.BLOCKED)
            data: JsonObject = {"serial": serial, "reason": reason}
            tx.emit("container.blocked", subject=serial, data=data, before=repository.audited(container))
            command.charge(tx)
            return {"new": True}

        answer = self._db.run_command(command, body)
        return Done(value=self.get_container(serial), replayed=answer.replayed or not answer.value["new"])

    def restore_container(
        self, serial: str, decision: Decision, *, reason: str, command: Command
    ) -> Done[ContainerView]:
        """Let a blocked or contradicting container go on.

        Raises:
            ContainerNotFound: it is not known.
            ContainerNotInQuestion: it is neither blocked nor in an unexpected state.
            TransferOpen: what it reported cannot be accepted while a transfer counts on what the books say.
        """

        def body(tx: Tx) -> JsonObject:
            repository.touch_container(tx, serial)
            container = repository.get_container(tx, serial)
            if container.state is ContainerState.OK:
                raise ContainerNotInQuestion(
                    f"Container {serial} is in order; there is nothing to decide.", serial=serial
                )
            if decision is Decision.ACCEPT_REPORTED:
                _check_idle(tx, serial)
                _accept(tx, container)
            repository.set_state(tx, serial, ContainerState.OK)
            data: JsonObject = {"serial": serial, "decision": str(decision), "reason": reason}
            tx.emit("container.restored", subject=serial, data=data, before=repository.audited(container))
            command.charge(tx)
            return {}

        answer = self._db.run_command(command, body)
        return Done(value=self.get_container(serial), replayed=answer.replayed)


def _check_idle(tx: Tx, serial: str) -> None:
    opened = find_open_transfer(tx, serial)
    if opened is not None:
        raise TransferOpen(
            f"Container {serial} has a transfer in the making. Decide when it has ended.",
            transfer_id=opened,
            serial=serial,
        )


def _accept(tx: Tx, container: Container) -> None:
    if container.reported is None:
        raise ContainerNotInQuestion(
            f"Container {container.serial} has reported nothing that could be accepted; use keep_recorded.",
            serial=container.serial,
        )
    fuc = repository.accept_reported(tx, container, dict(container.reported))
    unconfirm(tx, container.serial, fuc=fuc)


def _view(reader: Reader, serial: str) -> ContainerView:
    return ContainerView(
        container=repository.get_container(reader, serial),
        licenses=tuple(list_container_licenses(reader, serial)),
        open_transfer=find_open_transfer(reader, serial),
    )
