"""Where an instance runs: its lines, its pool of boxes, and the boxes that pool must have. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from app.core.ids import LineId
from editions.catalog import EDITIONS, Edition
from fsb_gateway.box_driver import BoxSpec, DriverName
from tenancy.errors import CountryNotAllowed, EditionUnknown, LinesTooFew, LinesTooMany

SHARED_POOL = "shared"
SHARED_LINE = LineId("shared-1")
_MOST_LINES = 32
"""More lines than servers anybody rents; keeps a typing error from placing thousands. Our own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxKind:
    """What kind of box new pools get."""

    driver: DriverName = "software"
    operation_time: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where an instance runs."""

    lines: tuple[LineId, ...]
    pool: str
    boxes: tuple[BoxSpec, ...]


def find_edition(key: str) -> Edition:
    """Look an edition up.

    Raises:
        EditionUnknown: the catalogue has none of that name.
    """
    found = EDITIONS.get(key)
    if found is None:
        raise EditionUnknown("There is no such edition.", edition=key[:64], known=list(EDITIONS))
    return found


def check_lines(edition: Edition, lines: int) -> None:
    """Refuse a number of lines that the edition does not have.

    Raises:
        LinesTooFew: e.g. one line of High Availability.
        LinesTooMany: e.g. two lines of Dedicated, or more than anybody rents.
    """
    if lines < edition.min_lines:
        raise LinesTooFew(
            f"{edition.name_en} has at least {edition.min_lines} line(s).",
            minimum=edition.min_lines,
            lines=lines,
        )
    most = min(edition.max_lines or _MOST_LINES, _MOST_LINES)
    if lines > most:
        raise LinesTooMany(f"{edition.name_en} has at most {most} line(s).", maximum=most, lines=lines)


def check_country(country: str, allowed: Collection[str]) -> None:
    """Refuse a country in which nothing may be placed.

    Raises:
        CountryNotAllowed: no server stands there.
    """
    if country not in allowed:
        raise CountryNotAllowed(
            "No instance can be placed in that country.", country=country[:8], allowed=sorted(allowed)
        )


def place_instance(name: str, edition: Edition, *, lines: int, kind: BoxKind | None = None) -> Placement:
    """Say where an instance runs.

    Args:
        name: of the instance; its lines, pool and boxes are named after it.
        edition: decides what is shared and what is its own.
        lines: as contracted.
        kind: of the boxes.
    """
    kind = kind or BoxKind()
    pool = SHARED_POOL if edition.box == "shared" else name
    count = lines if edition.box == "own_per_line" else 1
    return Placement(
        lines=line_names(name, edition, lines=lines),
        pool=pool,
        boxes=tuple(
            BoxSpec(name=f"{pool}-box-{n}", pool=pool, driver=kind.driver, operation_time=kind.operation_time)
            for n in range(1, count + 1)
        ),
    )


def line_names(name: str, edition: Edition, *, lines: int) -> tuple[LineId, ...]:
    """The lines that serve an instance."""
    if edition.server == "shared":
        return (SHARED_LINE,)
    return tuple(LineId(f"{name}-{n}") for n in range(1, lines + 1))
