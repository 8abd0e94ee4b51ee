"""`wops audit`: verify the audit chains, export them, read the public key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final, cast

import typer

from app.command.call import Call, reads
from app.command.output import JsonFlag, err, line, out, show
from app.command.received_file import received_file
from app.command.session import (
    DataDirOption,
    TokenFileOption,
    UrlOption,
    admin_session,
    id_of,
    settings_for,
)
from app.core.errors import DomainError, InputInvalid
from app.core.json import JsonObject, JsonValue
from app.core.net import ApiSession, NetUnavailable
from app.operations.audit.verify_audit import CHECKPOINTS, MOST_FINDINGS, PLATFORM
from tenancy.record import KEPT_STATES

commands = typer.Typer(no_args_is_help=True, help="The audit log: verify, export, public key.")

SOUND: Final = 0
WRONG: Final = 1
UNVERIFIED: Final = 2
_LAST_LINE_BYTES: Final = 4096
"""Longer than the last line of an export."""

KeyOption = Annotated[
    Path | None, typer.Option("--key", help="Public key, kept elsewhere (default: the data directory's own).")
]


@commands.command("verify")
def verify(
    offline: Annotated[
        bool, typer.Option("--offline", help="Read the databases of the data directory themselves.")
    ] = False,
    instance: Annotated[
        list[str] | None, typer.Option(help="Only this one, by name or id; may be repeated.")
    ] = None,
    key: KeyOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Walk along every chain and compare it with every checkpoint.

    Status 0: nothing is wrong. 1: something is, and the first place of each chain is named. 2: something could not be
    verified, and what could be is sound. Chains that checkpoints name are verified whatever the list of instances says.
    """
    try:
        if offline:
            from app.command.audit_offline import verify_offline  # noqa: PLC0415 - needs the databases' modules

            reports = verify_offline(settings_for(data_dir), instance or (), key=key)
        else:
            if key is not None:
                raise InputInvalid("--key goes with --offline or with an export.", field="key")
            with admin_session(url, token_file, data_dir) as api:
                reports = list(_verify_online(api, instance or ()))
    except (DomainError, OSError, ValueError) as error:
        err.print(line(("not verified", "red"), f": {error}"))
        raise typer.Exit(UNVERIFIED) from error
    _tell(reports, as_json=as_json)
    raise typer.Exit(_status(reports))


@commands.command("verify-export")
def verify_export(
    export: Annotated[Path, typer.Argument(help="File that `wops audit export` has written.")],
    key: Annotated[Path, typer.Option("--key", help="Public key, from another source than the export.")],
    checkpoints: Annotated[
        Path | None, typer.Option("--checkpoints", help="Checkpoints kept from earlier.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Verify an export; the file `verify_audit.py` does the same without wops. Status as there: 0, 1 or 2."""
    from app.operations.audit.verify_audit import main  # noqa: PLC0415 - other commands do without

    older = [] if checkpoints is None else ["--checkpoints", str(checkpoints)]
    told = ["--json"] if as_json else []
    raise typer.Exit(main([str(export), "--key", str(key), *older, *told]))


@commands.command("export")
@reads
def export(
    call: Call,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it; must not exist.")],
    instance: Annotated[
        str | None, typer.Option(help="Name or id; without it, the platform's own chain.")
    ] = None,
    since: Annotated[str | None, typer.Option("--from", help="RFC 3339, with time zone.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="RFC 3339, with time zone.")] = None,
) -> None:
    """Write a chain to a file that anybody can verify with the public key alone."""
    given = {"from": since, "until": until}
    query = {name: value for name, value in given.items() if value is not None}
    if instance is not None:
        query["instance_id"] = id_of(call.api, "instance", instance)
    write_export(output, call.api.stream("/admin/v1/audit/export", **query))
    if call.as_json:
        call.show({"file": str(output)})
    else:
        err.print(line(f"written: {output}"))


@commands.command("key")
@reads
def show_key(call: Call) -> None:
    """Print the public key; keep it elsewhere, before it is needed."""
    found = call.api.get("/admin/v1/audit/key").object()
    if call.as_json:
        call.show(found)
    else:
        out.print(line(str(found["line"])))


def write_export(output: Path, chunks: Iterable[bytes]) -> None:
    """Keep an export if its last line has come, which says that it is whole.

    Raises:
        FileExistsError: there is a file of that name.
        NetUnavailable: the export broke off; nothing was kept.
    """
    last = b""
    with received_file(output) as file:
        for chunk in chunks:
            file.write(chunk)
            last = (last + chunk)[-_LAST_LINE_BYTES:]
        if not (last.endswith(b"\n") and b'"kind":"end"' in last.splitlines()[-1]):
            raise NetUnavailable("The export broke off before its last line; nothing was kept.")


def _verify_online(api: ApiSession, names: Sequence[str]) -> Iterator[JsonObject]:
    marks = _verify_chain(api, CHECKPOINTS)
    yield marks
    if names:
        chains = {id_of(api, "instance", name) for name in names}
    else:
        listed = api.get_all("/admin/v1/instances")
        chains = {str(each["instance_id"]) for each in listed if each["state"] in KEPT_STATES}
        chains |= set(cast(Sequence[str], marks["chains"]))
    for chain in (PLATFORM, *sorted(chains - {PLATFORM})):
        try:
            yield _verify_chain(api, chain)
        except DomainError as error:
            yield unverified(chain, error)


def _verify_chain(api: ApiSession, chain: str) -> JsonObject:
    return sum_up(lambda after: api.get("/admin/v1/audit/verification", chain=chain, after=after).object())


def sum_up(ask: Callable[[int], JsonObject]) -> JsonObject:
    """The report of a chain that is verified part by part, as the platform answers in bounded time.

    Args:
        ask: verifies what stands behind an entry.
    """
    entries, vouched, after = 0, 0, 0
    findings: list[JsonValue] = []
    chains: set[str] = set()
    while True:
        part = ask(after)
        entries += _number(part["entries"])
        vouched = max(vouched, _number(part["vouched_until"]))
        findings += cast(Sequence[JsonValue], part["findings"])
        chains |= set(cast(Sequence[str], part["chains"]))
        after = _number(part["last"])
        if part["complete"] or len(findings) >= MOST_FINDINGS:
            break
    return {
        **part,
        "entries": entries,
        "vouched_until": vouched,
        "findings": findings,
        "chains": sorted(chains),
        "sound": not findings,
    }


def unverified(chain: str, error: Exception) -> JsonObject:
    """The report of a chain that could not be verified."""
    return {"chain": chain, "sound": False, "unverified": str(error), "findings": []}


def _number(value: object) -> int:
    return int(str(value))


def _status(reports: Sequence[JsonObject]) -> int:
    if any(report["findings"] for report in reports):
        return WRONG
    return UNVERIFIED if any("unverified" in report for report in reports) else SOUND


def _tell(reports: Sequence[JsonObject], *, as_json: bool) -> None:
    status = _status(reports)
    if as_json:
        show({"sound": status == SOUND, "chains": list(reports)}, as_json=True)
        return
    for report in reports:
        _tell_chain(report)
    out.print(
        {
            SOUND: "nothing is wrong",
            WRONG: "the audit log is not what was written",
            UNVERIFIED: "nothing wrong was found, but not everything could be verified",
        }[status]
    )


def _tell_chain(report: JsonObject) -> None:
    name = report["chain"]
    if "unverified" in report:
        out.print(line((f"{name}: unverified: {report['unverified']}", "red")))
        return
    counted = f": {report['entries']} entries, signed up to entry {report['vouched_until']}"
    out.print(line(f"{name}{'' if name == CHECKPOINTS else counted}"))
    for found in cast(Sequence[JsonObject], report["findings"]):
        out.print(line((f"  WRONG  {found['chain']}: {found['text']} ({found['code']})", "red")))
