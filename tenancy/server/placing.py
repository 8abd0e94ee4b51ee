"""Taking places on servers and giving them back, inside the caller's transaction.

Context: two orders may want the last place at once. Decision: a guarded counter on the server's row decides;
whoever loses tries the next server. Alternative: counting placements, which two transactions at once both find free.
"""

from __future__ import annotations

from dataclasses import replace

from app.core.db import Tx
from app.core.ids import InstanceId
from editions.catalog import Edition
from tenancy.placement import choose_another_server, choose_servers
from tenancy.server import repository
from tenancy.server.record import Server, ServerId


def place(
    tx: Tx, instance_id: InstanceId, *, edition: Edition, lines: int, country: str
) -> tuple[Server, ...]:
    """Take the places an instance of that edition needs; the first server will hold its database.

    Emits `instance.placed`.

    Raises:
        CapacityExhausted: there are not enough; the caller's transaction must not be committed.
    """
    servers = repository.list_all_servers(tx)
    while True:
        chosen = choose_servers(servers, edition, lines=lines, country=country)
        lost = _take_all(tx, chosen)
        if lost is None:
            break
        # Full, not gone: which kind of server takes instances depends on all there are.
        full = replace(lost, used=lost.capacity)
        servers = [full if each.server_id == lost.server_id else each for each in servers]
    for ordinal, server in enumerate(chosen):
        repository.add_placement(tx, instance_id, server.server_id, ordinal=ordinal)
    tx.emit(
        "instance.placed",
        subject=instance_id,
        data={"servers": [server.name for server in chosen], "country": country},
    )
    return chosen


def place_another(tx: Tx, instance_id: InstanceId, *, edition: Edition, country: str, ordinal: int) -> Server:
    """Take one place more for a line of an instance, on a server of its own. Emits `instance.placed`.

    Raises:
        CapacityExhausted: there is none; the caller's transaction must not be committed.
    """
    servers = repository.list_all_servers(tx)
    placed = repository.list_placed_on(tx, instance_id)
    while True:
        chosen = choose_another_server(servers, edition, placed=placed, country=country)
        if repository.take_place(tx, chosen.server_id):
            break
        full = replace(chosen, used=chosen.capacity)
        servers = [full if each.server_id == chosen.server_id else each for each in servers]
    repository.add_placement(tx, instance_id, chosen.server_id, ordinal=ordinal)
    before = [server.name for server in placed]
    tx.emit(
        "instance.placed",
        subject=instance_id,
        data={"servers": [*before, chosen.name], "country": country},
        before={"servers": [*before]},
    )
    return chosen


def release_one(tx: Tx, instance_id: InstanceId, server_id: ServerId) -> None:
    """Give one place of an instance back, if it has it. Emits `instance.released`."""
    placed = repository.list_placed_on(tx, instance_id)
    if repository.remove_placement(tx, instance_id, server_id):
        left = [server.name for server in placed if server.server_id != server_id]
        before = [server.name for server in placed]
        tx.emit(
            "instance.released", subject=instance_id, data={"servers": [*left]}, before={"servers": [*before]}
        )


def release(tx: Tx, instance_id: InstanceId) -> tuple[Server, ...]:
    """Give all places of an instance back; returns which they were, none when it had none. Emits `instance.released`.

    Its database must be gone: whoever gets a dedicated place gets the server for himself.
    """
    placed = repository.list_placed_on(tx, instance_id)
    freed = tuple(
        server for server in placed if repository.remove_placement(tx, instance_id, server.server_id)
    )
    if freed:
        names = [server.name for server in freed]
        tx.emit("instance.released", subject=instance_id, data={"servers": []}, before={"servers": names})
    return freed


def _take_all(tx: Tx, chosen: tuple[Server, ...]) -> Server | None:
    """Take a place on each; if one is gone, say which, with nothing taken."""
    for index, server in enumerate(chosen):
        if not repository.take_place(tx, server.server_id):
            for taken in chosen[:index]:
                repository.give_back(tx, taken.server_id)
            return server
    return None
