"""Carrying out a command in one transaction."""

from __future__ import annotations

from collections.abc import Callable

from app.core.command import Command
from app.core.db import Database, Tx, TxAnswer
from app.core.json import JsonObject


def carry_out(db: Database, command: Command | None, body: Callable[[Tx], JsonObject]) -> TxAnswer:
    """Run the body once under the command's operation id; without a command, as an operation of its own."""
    asked = command or Command()

    def charged(tx: Tx) -> JsonObject:
        asked.charge(tx)
        return body(tx)

    return db.run_command(asked, charged)
