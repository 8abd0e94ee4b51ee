"""What the commands that talk to a platform have in common: options, arguments, the session, how they answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Annotated, Any, Concatenate

import typer

from app.command.output import JsonFlag, err, failing_clearly, line, show, show_secret, show_table
from app.command.session import (
    DataDirOption,
    TokenFileOption,
    UrlOption,
    admin_session,
    path_of,
    served_address,
)
from app.core.json import JsonObject
from app.core.net import ApiSession

InstanceArgument = Annotated[str, typer.Argument(help="Name or id of the instance.", metavar="INSTANCE")]
Reason = Annotated[str, typer.Option("--reason", help="Why; others read it, and it stands in the audit log.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; stands in the audit log.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One run of a command: whom it asks, and how it answers.

    Attributes:
        served_at: the address at which the platform serves instances.
    """

    api: ApiSession
    as_json: bool
    served_at: Callable[[], str]

    def instance(self, name: str) -> str:
        """Where the admin API has an instance that is given by name or id.

        Raises:
            InputInvalid: there is none.
        """
        return path_of(self.api, "instance", name)

    def show(self, value: JsonObject) -> None:
        """Print one object."""
        show(value, as_json=self.as_json)

    def show_table(self, rows: Sequence[JsonObject], columns: Sequence[str]) -> None:
        """Print a list; a person sees some columns only."""
        show_table(rows, columns, as_json=self.as_json)

    def show_secret(self, made: JsonObject, what: str) -> None:
        """Print what was made and its secret."""
        show_secret(made, what, as_json=self.as_json)

    def tell(self, text: str, *commands: str) -> None:
        """Tell a person what follows from it, and the commands for that; scripts are told nothing."""
        if not self.as_json:
            err.print(line((text, "yellow")))
            for each in commands:
                err.print(line("  ", (each, "bold")))

    def show_asked(self, request: JsonObject) -> None:
        """Print a request that a second person has to approve, and tell a person how that is done."""
        self.show(request)
        if not self.as_json:
            then = f"wops admin approval approve {request['approval_id']}"
            err.print(line("Nothing is done yet. A second person decides: ", (then, "bold")))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What every one of these commands takes."""

    reason: ReasonOption = None
    url: UrlOption = None
    token_file: TokenFileOption = None
    data_dir: DataDirOption = None
    as_json: JsonFlag = False


_Command = Callable[Concatenate[Call, ...], None]


def reads(command: _Command) -> Callable[..., None]:
    """A command that changes nothing: gets a `Call` first, and the shared options behind its own."""
    return _connected(command, leave_out={"reason"})


def changes(command: _Command) -> Callable[..., None]:
    """A command that changes something: it takes a `--reason`, which goes with each of its changes.

    One that has a `reason` of its own, because the request itself holds it, keeps that.
    """
    return _connected(command, leave_out=set())


def _connected(command: _Command, *, leave_out: set[str]) -> Callable[..., None]:
    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    leave_out = leave_out | {each.name for each in own}
    options = inspect.signature(_Options, eval_str=True).parameters.values()
    shared = [each for each in options if each.name not in leave_out]

    @wraps(command)
    def run(**given: Any) -> None:
        chosen = _Options(**{each.name: given.pop(each.name) for each in shared})
        where = (chosen.url, chosen.token_file, chosen.data_dir)
        with failing_clearly(), admin_session(*where, reason=chosen.reason) as api:
            served_at = partial(served_address, chosen.url, chosen.data_dir)
            command(Call(api=api, as_json=chosen.as_json, served_at=served_at), **given)

    # Typer makes the options from these two.
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *shared)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run
