"""`wops admin box|pool`: the Firm Security Boxes, whom they work for, and who waits for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import typer

from app.command.call import Call, InstanceArgument, Reason, changes, reads
from app.command.session import version_in
from app.core.errors import InputInvalid
from app.core.json import JsonObject

box = typer.Typer(no_args_is_help=True, help="Firm Security Boxes.")
pool = typer.Typer(no_args_is_help=True, help="Pools of boxes, and who waits for them.")

BoxArgument = Annotated[str, typer.Argument(help="Name of the box.", metavar="BOX")]
PoolArgument = Annotated[str, typer.Argument(help="Name of the pool.", metavar="POOL")]
TimeOption = Annotated[int | None, typer.Option("--operation-time-ms", help="Per programming operation.")]
JitterOption = Annotated[float | None, typer.Option(help="By which share that varies, 0 to 1.")]
TransactionsOption = Annotated[
    str | None, typer.Option(help="What is deducted: unlimited, standard (per container) or pay_per_use.")
]
FaultOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        help="busy=0.01, timeout=…, wrong_answer=…, lost_power=…: shares of all jobs; may be given several times.",
        metavar="KIND=SHARE",
    ),
]
ModuleOption = Annotated[
    Path | None, typer.Option("--module", help="PKCS#11: the library on the box's machine.")
]
LabelOption = Annotated[str | None, typer.Option("--token-label", help="PKCS#11: label of the token.")]
PinOption = Annotated[
    Path | None, typer.Option("--pin-file", help="PKCS#11: file with the PIN there, mode 0600.")
]

_COLUMNS: Final = (
    "name",
    "pool",
    "works_for",
    "driver",
    "state",
    "condition",
    "temperature",
    "utilisation",
    "operations_done",
    "transactions_left",
    "lent_until",
)
_POOL_COLUMNS: Final = (
    "name",
    "owner",
    "boxes",
    "ready_boxes",
    "without_key",
    "reason",
    "waiting",
    "running",
    "unknown",
    "expected_wait_seconds",
    "expected_wait_p95_seconds",
    "utilisation",
)
_SHARE_COLUMNS: Final = (
    "instance_id",
    "waiting",
    "running",
    "unknown",
    "operations_done",
    "share",
    "waited_seconds",
    "caused_by_others_seconds",
)


@box.command("list")
@reads
def list_boxes(call: Call) -> None:
    """List boxes: what is wanted of them, and how they are."""
    call.show_table(call.api.get("/admin/v1/boxes").list(), _COLUMNS)


@box.command("show")
@reads
def show_box(call: Call, name: BoxArgument) -> None:
    """Show one box."""
    call.show(call.api.get(_path(name)).object())


@box.command("add")
@changes
def add_box(
    call: Call,
    name: BoxArgument,
    pool: Annotated[str, typer.Option(help="`shared`, or the name of an instance's own pool.")],
    reason: Reason,
    driver: Annotated[str, typer.Option(help="software or pkcs11.")] = "software",
    operation_time_ms: TimeOption = None,
    jitter: JitterOption = None,
    fault: FaultOption = None,
    transactions: TransactionsOption = None,
    module: ModuleOption = None,
    token_label: LabelOption = None,
    pin_file: PinOption = None,
) -> None:
    """Ask for a box to join a pool, which brings the pool's keys into it; a second person has to approve it."""
    body: JsonObject = {"name": name, "pool": pool, "driver": driver, "reason": reason}
    body |= _described(operation_time_ms, jitter, fault, transactions)
    body |= _token(module, token_label, pin_file)
    call.show_asked(call.api.post("/admin/v1/boxes", body).object())


@box.command("change")
@changes
def change_box(
    call: Call,
    name: BoxArgument,
    operation_time_ms: TimeOption = None,
    jitter: JitterOption = None,
    fault: FaultOption = None,
    transactions: TransactionsOption = None,
    module: ModuleOption = None,
    token_label: LabelOption = None,
    pin_file: PinOption = None,
) -> None:
    """Change a box's pace, faults, token or transactions; what is not named stays."""
    body = _described(operation_time_ms, jitter, fault, transactions)
    body |= _token(module, token_label, pin_file)
    call.show(call.api.patch(_path(name), body, if_match=_version(call, name)).object())


@box.command("drain")
@changes
def drain_box(call: Call, name: BoxArgument) -> None:
    """Let a box finish what it has and take no more."""
    call.show(call.api.post(f"{_path(name)}:drain", {}, if_match=_version(call, name)).object())


@box.command("resume")
@changes
def resume_box(call: Call, name: BoxArgument) -> None:
    """Let a drained box take work again."""
    call.show(call.api.post(f"{_path(name)}:resume", {}, if_match=_version(call, name)).object())


@box.command("load")
@changes
def load_transactions(
    call: Call, name: BoxArgument, number: Annotated[int, typer.Argument(help="How many.")]
) -> None:
    """Note that transactions were loaded into a box."""
    call.show(call.api.post(f"{_path(name)}:load", {"number": number}).object())


@box.command("retry")
@changes
def retry_box(call: Call, name: BoxArgument) -> None:
    """Have a box look again whether it can work, e.g. after its PIN file was mended."""
    call.show(call.api.post(f"{_path(name)}:retry", {}).object())


@box.command("lend")
@changes
def lend_box(
    call: Call,
    name: BoxArgument,
    to: Annotated[str, typer.Option("--to", help="The pool that it works for.")],
    hours: Annotated[int, typer.Option(help="1 to 720; then it is back by itself.")],
    reason: Reason,
    force: Annotated[
        bool, typer.Option("--force", help="Even if its own pool is left without a box.")
    ] = False,
) -> None:
    """Ask to lend a box to another pool for a time; a second person has to approve it."""
    body: JsonObject = {"to": to, "hours": hours, "force": force, "reason": reason}
    call.show_asked(call.api.post(f"{_path(name)}:lend", body).object())


@box.command("return")
@changes
def return_box(call: Call, name: BoxArgument) -> None:
    """End a box's loan now."""
    call.show(call.api.post(f"{_path(name)}:return", {}).object())


@box.command("remove")
@changes
def remove_box(call: Call, name: BoxArgument, reason: Reason) -> None:
    """Ask to take a box out of its pool for good, its keys with it; a second person has to approve it."""
    call.show_asked(call.api.post(f"{_path(name)}:remove", {"reason": reason}).object())


@pool.command("list")
@reads
def list_pools(call: Call) -> None:
    """List pools: how many boxes work for them, who waits, and for how long."""
    call.show_table(call.api.get("/admin/v1/pools").list(), _POOL_COLUMNS)


@pool.command("show")
@reads
def show_pool(call: Call, name: PoolArgument) -> None:
    """Show each instance's share of a pool, and its delay by others."""
    found = call.api.get(f"/admin/v1/pools/{quote(name, safe='')}").object()
    if call.as_json:
        call.show(found)
        return
    shares = found.pop("instances")
    call.show(found)
    call.show_table(shares if isinstance(shares, list) else [], _SHARE_COLUMNS)


@pool.command("queue")
@reads
def show_queue(call: Call, instance: InstanceArgument) -> None:
    """Show where an instance stands in the queue."""
    call.show(call.api.get(f"{call.instance(instance)}/queue").object())


def _path(name: str) -> str:
    return f"/admin/v1/boxes/{quote(name, safe='')}"


def _version(call: Call, name: str) -> str:
    return version_in(call.api.get(_path(name)))


def _described(
    operation_time_ms: int | None, jitter: float | None, fault: list[str] | None, transactions: str | None
) -> JsonObject:
    given = {"operation_time_ms": operation_time_ms, "jitter": jitter, "transactions": transactions}
    body: JsonObject = {name: value for name, value in given.items() if value is not None}
    if fault:
        shares: JsonObject = dict(map(_fault, fault))
        body["faults"] = shares
    return body


def _fault(text: str) -> tuple[str, float]:
    """A kind of fault and its share.

    Raises:
        InputInvalid: not `kind=share`.
    """
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise InputInvalid("A fault is given as busy=0.01.", field="fault") from None


def _token(module: Path | None, label: str | None, pin_file: Path | None) -> JsonObject:
    """Where a PKCS#11 box keeps its keys, if it is one.

    Raises:
        InputInvalid: something of it is missing.
    """
    if module is None and label is None and pin_file is None:
        return {}
    if module is None or label is None or pin_file is None:
        raise InputInvalid("A token needs --module, --token-label and --pin-file.", field="token")
    return {"token": {"module": str(module), "label": label, "pin_file": str(pin_file)}}
