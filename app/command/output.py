"""How the command line talks: tables for people, JSON for scripts, errors with their code.

Nothing that is printed is markup: names and reasons are typed by others, and must be seen as they are.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from app.core.errors import DomainError, InputInvalid
from app.core.json import JsonObject, JsonValue, dump_json

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]

out = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
err = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)

_SMALL: Final = 0.01
"""Below it, three digits behind the point would be one or none."""


def line(*parts: str | tuple[str, str]) -> Text:
    """A line for a console: pieces of text, some with a style."""
    return Text.assemble(
        *(printable(part) if isinstance(part, str) else (printable(part[0]), part[1]) for part in parts)
    )


def printable(text: str) -> str:
    """Text as it may reach a terminal: what would move its cursor or turn its words round is shown as an escape."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )


def show(value: JsonValue | JsonObject, *, as_json: bool) -> None:
    """Print one object: as JSON, or field by field."""
    if as_json or not isinstance(value, Mapping):
        sys.stdout.write(dump_json(value) + "\n")
        return
    width = max(len(name) for name in value)
    for name, each in value.items():
        out.print(line((f"{name:<{width}}", "dim"), "  ", _text(each)))


def show_table(rows: Sequence[Mapping[str, JsonValue]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print a list: as JSON, or as a table of some columns."""
    if as_json:
        sys.stdout.write(dump_json(list(rows)) + "\n")
        return
    cells = [[printable(_text(row.get(column))) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for style, row in (("dim", list(columns)), *(("", row) for row in cells)):
        text = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        out.print(line((text, style)))


def show_secret(made: JsonObject, what: str, *, as_json: bool) -> None:
    """Print what was made, and its secret, which nobody will see again."""
    if as_json:
        show(made, as_json=True)
        return
    described = made[what]
    show(described, as_json=False)
    out.print(line(("shown this once; keep it:", "yellow")))
    out.print(line(str(made["secret"])))


def fail(error: DomainError) -> NoReturn:
    """Print why something cannot be done, with its code, and end with status 1."""
    code = str(error.detail.get("reason", error.code))
    err.print(line((code, "red"), f": {error.message}"))
    faults = error.detail.get("faults")
    for fault in faults if isinstance(faults, list) else ():
        err.print(line(f"  {fault}"))
    raise typer.Exit(1)


def fail_usage(where: str, what: str) -> NoReturn:
    """Print which option or variable is wrong, and why, and end with status 2."""
    err.print(line((InputInvalid.code, "red"), f": {where}: {what}"))
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


def _rounded(value: float) -> str:
    """Milliseconds of seconds, tenths of a percent: nobody reads more. Programs get all of it by --json."""
    return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) >= _SMALL or value == 0 else f"{value:.2g}"


def _text(value: JsonValue) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _rounded(value)
    return dump_json(value)
