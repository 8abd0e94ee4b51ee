"""`wops admin rule`: by which rules requests are sent to an instance's lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, cast

import typer

from app.command.call import Call, InstanceArgument, changes, reads
from app.command.output import line, out
from app.command.session import version_in
from app.core.errors import InputInvalid
from app.core.json import JsonObject, JsonValue

commands = typer.Typer(no_args_is_help=True, help="By which rules requests are sent to an instance's lines.")

RulesFile = Annotated[
    Path,
    typer.Argument(
        help="JSON with `rules` and `sources`, as `show --json` prints them.", metavar="FILE", dir_okay=False
    ),
]
_ANSWERED: Final = frozenset(
    {"version", "created_at", "actor", "reason", "restored", "rule_names", "warnings"}
)
"""What answers say of rules besides the rules themselves."""
_MOST_BYTES: Final = 1024 * 1024
"""As much as the platform reads."""


@commands.command("show")
@reads
def show_rules(
    call: Call,
    instance: InstanceArgument,
    version: Annotated[int | None, typer.Option(help="An earlier version; `history` lists them.")] = None,
) -> None:
    """Show the rules in force, or an earlier version of them."""
    path = f"{call.instance(instance)}/rules"
    found = call.api.get(path if version is None else f"{path}/versions/{version}").object()
    _show(call, found)


@commands.command("set")
@changes
def set_rules(call: Call, instance: InstanceArgument, file: RulesFile) -> None:
    """Replace the rules by those in a file; in force within a second."""
    body = _rules_in(file)
    path = f"{call.instance(instance)}/rules"
    before = call.api.get(path)
    _show(call, call.api.put(path, body, if_match=version_in(before)).object())


@commands.command("history")
@reads
def list_versions(call: Call, instance: InstanceArgument) -> None:
    """List every version that the rules ever had, newest first."""
    rows = call.api.get_all(f"{call.instance(instance)}/rules/versions")
    call.show_table(
        [row if call.as_json else _flat(row) for row in rows],
        ("version", "created_at", "by", "restored", "rules", "reason"),
    )


@commands.command("undo")
@changes
def undo_rules(
    call: Call,
    instance: InstanceArgument,
    to: Annotated[
        int | None, typer.Option(help="The version to put back; without it, the one before.")
    ] = None,
) -> None:
    """Put an earlier version of the rules back, as a new version."""
    path = f"{call.instance(instance)}/rules"
    before = call.api.get(path)
    body: JsonObject = {} if to is None else {"version": to}
    _show(call, call.api.post(f"{path}:undo", body, if_match=version_in(before)).object())


@commands.command("dry-run")
@reads
def try_rules(
    call: Call,
    instance: InstanceArgument,
    path: Annotated[str, typer.Option(help="Below the instance's name, like /api/v1/orders.")],
    address: Annotated[str, typer.Option(help="The caller's, as the platform sees it.")],
    method: Annotated[str, typer.Option(help="Of the request.")] = "GET",
    header: Annotated[
        list[str] | None, typer.Option(help="Like 'x-client-class: batch'; may be given several times.")
    ] = None,
    client: Annotated[str | None, typer.Option(help="User name of an API client.")] = None,
    certificate_fingerprint: Annotated[
        str | None, typer.Option(help="SHA-256 of the client certificate.")
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(help="File with rules to ask instead of those in force.", dir_okay=False)
    ] = None,
) -> None:
    """Say to which line a request would go, and why; changes nothing."""
    asked: dict[str, JsonValue] = {
        "method": method,
        "path": path,
        "headers": dict(map(_split_header, header or ())),
        "source": address,
        "client": client,
        "certificate_fingerprint": certificate_fingerprint,
        "rules": None if rules is None else _rules_in(rules),
    }
    body: JsonObject = {name: value for name, value in asked.items() if value is not None}
    found = call.api.post(f"{call.instance(instance)}/rules:dryRun", body).object()
    if call.as_json:
        call.show(found)
        return
    out.print(line(str(cast(Mapping[str, str], found["sentence"])["en"])))
    for each in cast(Sequence[JsonObject], found["verdicts"]):
        wanted = ", ".join(cast(Sequence[str], each["wanted"]))
        why = f": {each['condition']} {wanted}, not {each['seen'] or 'sent'}" if each["condition"] else ""
        out.print(line(f"  {each['rule']}: {str(each['outcome']).replace('_', ' ')}{why}"))
    _warn(call, found)


def _rules_in(path: Path) -> JsonObject:
    """The rules in a file; what answers say besides is left out.

    Raises:
        OSError: it cannot be read.
        InputInvalid: it holds no JSON object, or is too large for rules.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise InputInvalid(f"{path} has more than {_MOST_BYTES} bytes.", field="file")
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputInvalid(f"{path} holds no JSON.", field="file") from error
    if not isinstance(found, dict):
        raise InputInvalid(f"{path} holds no JSON object with `rules`.", field="file")
    return {name: value for name, value in found.items() if name not in _ANSWERED}


def _split_header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise InputInvalid("Write a header as name: value.", field="header")
    return name.strip(), value.strip()


def _show(call: Call, found: JsonObject) -> None:
    if call.as_json:
        call.show(found)
        return
    hidden = ("rules", "sources", "rule_names", "actor", "warnings")
    call.show({**{name: value for name, value in found.items() if name not in hidden}, "by": _who(found)})
    for rule in cast(Sequence[JsonObject], found["rules"]):
        match = cast(Mapping[str, JsonValue], rule["match"])
        action = cast(Mapping[str, JsonValue], rule["action"])
        out.print(line((f"{rule['name']}", "bold"), f": {_said(match) or 'every request'} → {_said(action)}"))
    for name, networks in cast(Mapping[str, Sequence[str]], found["sources"]).items():
        out.print(line(f"{name} = {', '.join(networks)}"))
    _warn(call, found)


def _warn(call: Call, found: JsonObject) -> None:
    for each in cast(Sequence[JsonObject], found.get("warnings", ())):
        text = cast(Mapping[str, str], each["text"])["en"]
        call.tell(f"{each['code']} ({each['field']}): {text}")


def _said(fields: Mapping[str, JsonValue]) -> str:
    return "; ".join(f"{name} {_plain(value)}" for name, value in fields.items())


def _plain(value: JsonValue) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_plain(each)}" for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return str(value)


def _flat(row: JsonObject) -> JsonObject:
    names = cast(Sequence[str], row["rule_names"])
    return {**row, "by": _who(row), "rules": ", ".join(names)}


def _who(row: JsonObject) -> str:
    actor = cast(Mapping[str, str], row["actor"])
    return f"{actor['kind']} {actor['id']}"
