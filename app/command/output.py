"""How the command line talks: tables for people, JSON for scripts, errors with their code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from app.core.errors import DomainError, InputInvalid
from app.core.json import JsonObject, JsonValue, dump_json

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def show(value: JsonValue | JsonObject, *, as_json: bool) -> None:
    """Print one object: as JSON, or field by field."""
    if as_json or not isinstance(value, Mapping):
        sys.stdout.write(dump_json(value) + "\n")
        return
    width = max(len(name) for name in value)
    for name, each in value.items():
        out.print(f"[dim]{name:<{width}}[/]  {_text(each)}")


def show_table(rows: Sequence[Mapping[str, JsonValue]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print a list: as JSON, or as a table of some columns."""
    if as_json:
        sys.stdout.write(dump_json(list(rows)) + "\n")
        return
    cells = [[_text(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for style, line in (("dim", list(columns)), *(("", line) for line in cells)):
        text = "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        out.print(text, style=style or None, markup=False)


def show_secret(made: JsonObject, what: str, *, as_json: bool) -> None:
    """Print what was made, and its secret, which nobody will see again."""
    if as_json:
        show(made, as_json=True)
        return
    described = made[what]
    show(described, as_json=False)
    out.print("[yellow]shown this once; keep it:[/]")
    out.print(str(made["secret"]))


def fail(error: DomainError) -> NoReturn:
    """Print why something cannot be done, with its code, and end with status 1."""
    code = str(error.detail.get("reason", error.code))
    err.print(f"[red]{code}[/]: {escape(error.message)}")
    faults = error.detail.get("faults")
    for fault in faults if isinstance(faults, list) else ():
        err.print(f"  {fault}", markup=False)
    raise typer.Exit(1)


def fail_usage(where: str, what: str) -> NoReturn:
    """Print which option or variable is wrong, and why, and end with status 2."""
    err.print(f"[red]{InputInvalid.code}[/]: {escape(where)}: {escape(what)}")
    raise typer.Exit(2)


class SystemCallFailed(DomainError):
    """The system refused something, e.g. to read a file or to write to a full disk."""

    code = "system_call_failed"


@contextmanager
def failing_clearly() -> Iterator[None]:
    """Turn errors of the domain and of the system into messages."""
    try:
        yield
    except DomainError as error:
        fail(error)
    except UnicodeEncodeError:
        named = _not_utf8(sys.argv[1:])
        if named is None:
            raise
        fail_usage(named, "not UTF-8")
    except OSError as error:
        # A reader like `head` that has seen enough is no failure; the command line's library ends quietly.
        if error.errno == errno.EPIPE:
            raise
        fail(_described(error))


def _not_utf8(arguments: Sequence[str]) -> str | None:
    """The option or argument with bytes that are no UTF-8, which Python hands over as lone surrogates."""
    before = ""
    for argument in arguments:
        if argument.encode("utf-8", "replace").decode() != argument:
            option = argument.partition("=")[0] if argument.startswith("--") else before
            return option if option.startswith("--") else "an argument"
        before = argument
    return None


def _described(error: OSError) -> SystemCallFailed:
    reason = error.strerror or str(error) or type(error).__name__
    return SystemCallFailed(reason if error.filename is None else f"{error.filename}: {reason}.")


def _text(value: JsonValue) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    return dump_json(value)
