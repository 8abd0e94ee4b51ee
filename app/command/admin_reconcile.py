"""`wops admin reconcile`: what is healed, what is not and why."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from urllib.parse import quote

import typer

from app.command.call import Call, Reason, changes, reads
from app.core.clock import SystemClock
from app.core.json import JsonObject, JsonValue

commands = typer.Typer(
    no_args_is_help=True, help="Self-healing: what is done and why, pauses, alarms that wait for a person."
)

ScopeArgument = Annotated[
    str,
    typer.Argument(help="all, a kind like line:*, group:GROUP, or a part like line:acme-1.", metavar="SCOPE"),
]

_MOST_HOURS = 24 * 31
_PARTS = ("part", "verdict", "in_service", "action", "reason", "scope", "until", "because", "evidence")
_DECISIONS = ("decided_at", "part", "action", "reason", "scope", "until", "outcome", "evidence", "token")


@commands.command("status")
@reads
def show_status(call: Call) -> None:
    """Show every part, what is done about it, or why nothing is."""
    found = call.api.get("/admin/v1/reconcile").object()
    if call.as_json:
        call.show(found)
        return
    if not found["is_watching"]:
        call.tell("Nothing to heal: lines work in control's own process, and no load balancer is kept.")
    hidden = ("parts", "kinds", "pauses", "alarms")
    call.show({name: value for name, value in found.items() if name not in hidden})
    kinds = [each for each in _rows(found["kinds"]) if each["reason"] != "healthy"]
    call.show_table([_shown(each) for each in (*kinds, *_rows(found["parts"]))], _PARTS)
    for pause in _rows(found["pauses"]):
        until = pause["until"] or "somebody resumes it"
        call.tell(f"paused: {pause['scope']} ({pause['reason']}) by {pause['paused_by']} until {until}")
    for alarm in _rows(found["alarms"]):
        call.tell(
            f"waits for a person: {alarm['part']} ({alarm['reason']})",
            f"wops admin reconcile release {alarm['part']}",
        )


@commands.command("decisions")
@reads
def list_decisions(
    call: Call,
    part: Annotated[str | None, typer.Option(help="Of one part only, like line:acme-1.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, the newest.")] = 25,
) -> None:
    """Show what was done and why, the newest first."""
    query: dict[str, str | int] = {"limit": limit}
    if part is not None:
        query["part"] = part
    rows = call.api.get("/admin/v1/reconcile/decisions", **query).list()
    call.show_table(rows if call.as_json else [_shown(each) for each in rows], _DECISIONS)


@commands.command("pause")
@changes
def pause(
    call: Call,
    scope: ScopeArgument,
    reason: Reason,
    hours: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST_HOURS, help="For how long; until it is resumed if left out."),
    ] = None,
) -> None:
    """Leave something alone; it is looked at all the same."""
    body: JsonObject = {"reason": reason}
    if hours is not None:
        body["until"] = (SystemClock().now() + timedelta(hours=hours)).isoformat()
    call.show(call.api.put(_path(scope), body, if_match="*").object())


@commands.command("resume")
@changes
def resume(call: Call, scope: ScopeArgument) -> None:
    """Look after it again."""
    call.api.delete(_path(scope))
    call.show({"resumed": scope})


@commands.command("release")
@changes
def release(
    call: Call, part: Annotated[str, typer.Argument(help="Like line:acme-1.", metavar="PART")]
) -> None:
    """Say that you have seen to a part about which a person was called; it is healed again."""
    call.show(call.api.post("/admin/v1/reconcile:release", {"part": part}).object())


def _path(scope: str) -> str:
    return f"/admin/v1/reconcile/pauses/{quote(scope, safe='')}"


def _rows(value: JsonValue) -> list[JsonObject]:
    return [dict(each) for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _shown(row: JsonObject) -> JsonObject:
    """A row for people: evidence in a few words."""
    said = [f"{each['witness']}: {each['detail'] or each['verdict']}" for each in _rows(row["evidence"])]
    words = row["words"]
    because = words["en"] if isinstance(words, dict) else None
    return {**row, "evidence": ", ".join(said), "because": because}
