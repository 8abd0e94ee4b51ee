"""The shared options: every command that talks to a platform has them, each change has a `--reason`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from app.command import admin, audit

SHARED = {"--url", "--token-file", "--data-dir", "--json"}
READING = {
    "list",
    "show",
    "log",
    "watch",
    "ledger",
    "failures",
    "check",
    "certificate",
    "ceremony",
    "queue",
    "export",
    "key",
    "probe",
    "history",
    "dry-run",
    "status",
    "decisions",
}
WITHOUT_PLATFORM = {"audit verify-export"}


def _walk(name: str, command: object) -> Iterator[tuple[str, set[str]]]:
    assert isinstance(command, TyperCommand | TyperGroup)
    options = {option for each in command.params for option in each.opts if option.startswith("--")}
    if isinstance(command, TyperGroup):
        for child, each in command.commands.items():
            yield from _walk(f"{name} {child}", each)
    if isinstance(command, TyperCommand) or command.invoke_without_command:
        yield name, options


COMMANDS = {
    name: options
    for group, app in (("admin", admin.commands), ("audit", audit.commands))
    for name, options in _walk(group, typer.main.get_command(app))
    if name not in WITHOUT_PLATFORM
}


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 50


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_command_has_the_shared_options(name: str) -> None:
    assert COMMANDS[name] >= SHARED
    assert "--token" not in COMMANDS[name], "a secret never stands among the arguments"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_change_has_a_reason_and_nothing_else_has(name: str) -> None:
    group, *_, verb = name.split()
    is_reading = group == "audit" or (verb in READING and name != "admin instance export")
    assert ("--reason" in COMMANDS[name]) is not is_reading
