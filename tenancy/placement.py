"""Where an instance runs: its lines, its pool of boxes, and the boxes that pool must have. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from app.core.ids import InstanceId, LineId
from editions.catalog import EDITIONS, Edition
from fsb_gateway.box_driver import BoxSpec, DriverName
from tenancy.errors import EditionUnknown, LinesTooFew, LinesTooMany
from tenancy.server.errors import CapacityExhausted, CountryForbidden
from tenancy.server.record import Server, ServerKind

SHARED_POOL = "shared"
SHARED_LINE = LineId("shared-1")
MOST_LINES = 32
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
    most = min(edition.max_lines or MOST_LINES, MOST_LINES)
    if lines > most:
        raise LinesTooMany(f"{edition.name_en} has at most {most} line(s).", maximum=most, lines=lines)


def check_country(country: str, allowed: Collection[str]) -> None:
    """Refuse a country in which the contract does not allow the instance's data to lie.

    Raises:
        CountryForbidden: it is not among those allowed.
    """
    if country not in allowed:
        raise CountryForbidden(
            "The contract does not allow that country.", country=country[:8], countries=sorted(allowed)
        )


def place_instance(
    name: str, edition: Edition, *, lines: int, instance_id: InstanceId, kind: BoxKind | None = None
) -> Placement:
    """Say where an instance runs.

    Args:
        name: of the instance; its lines, pool and boxes are named after it.
        edition: decides what is shared and what is its own.
        lines: as contracted.
        instance_id: whose boxes they are, unless they are shared.
        kind: of the boxes.
    """
    kind = kind or BoxKind()
    pool, owner = (SHARED_POOL, None) if edition.box == "shared" else (name, instance_id)
    count = lines if edition.box == "own_per_line" else 1
    return Placement(
        lines=line_names(name, edition, lines=lines),
        pool=pool,
        boxes=tuple(
            BoxSpec(
                name=f"{pool}-box-{n}",
                pool=pool,
                owner=owner,
                driver=kind.driver,
                operation_time=kind.operation_time,
            )
            for n in range(1, count + 1)
        ),
    )


def line_names(name: str, edition: Edition, *, lines: int) -> tuple[LineId, ...]:
    """The lines that serve an instance."""
    if edition.server == "shared":
        return (SHARED_LINE,)
    return tuple(LineId(f"{name}-{n}") for n in range(1, lines + 1))


def servers_needed(edition: Edition, *, lines: int) -> int:
    """On how many servers an instance is placed: a shared one, or one per line."""
    return 1 if edition.server == "shared" else lines


def kind_in_use(servers: Sequence[Server]) -> ServerKind:
    """Which kind of server takes new instances: directories only while no database server is registered."""
    is_mariadb = any(each.kind == "mariadb" and each.state != "retired" for each in servers)
    return "mariadb" if is_mariadb else "sqlite"


def choose_servers(
    servers: Sequence[Server], edition: Edition, *, lines: int, country: str
) -> tuple[Server, ...]:
    """Choose where an instance is placed; the first server will hold its database.

    Shared: the one whose capacity is taken to the smallest share. Dedicated: a free one. High Availability: a free one
    per line, of as many sites as there are. Among equals the first by name.

    All are of one kind: directories take nothing new once a database server is registered, wherever and for whatever;
    whoever has registered one does not want customers' data in files beside it.

    Args:
        servers: all of the platform; retired ones count for nothing.
        edition: decides what is needed.
        lines: as contracted.
        country: where it must lie.

    Raises:
        CapacityExhausted: there are not enough; says of what, where, how many are needed and how many are free.
    """
    purpose = "shared" if edition.server == "shared" else "dedicated"
    needed = servers_needed(edition, lines=lines)
    kind = kind_in_use(servers)
    fit = [
        each
        for each in servers
        if (each.purpose, each.kind, each.country) == (purpose, kind, country)
        and each.free
        and (purpose == "shared" or each.used == 0)
    ]
    if len(fit) < needed:
        raise CapacityExhausted(
            f"No {purpose} {kind} server has room: {needed} needed, {len(fit)} free.",
            purpose=purpose,
            kind=kind,
            country=country[:8],
            needed=needed,
            free=len(fit),
        )
    if purpose == "shared":
        return (min(fit, key=lambda each: (each.used / each.capacity, each.name)),)
    return _spread(fit, needed)


def choose_another_server(
    servers: Sequence[Server], edition: Edition, *, placed: Sequence[Server], country: str
) -> Server:
    """As `choose_servers`, for one line more: on a site where the instance has none yet, if there is one.

    Args:
        placed: the servers that the instance has.

    Raises:
        CapacityExhausted: there is none.
    """
    sites = {each.site for each in placed}
    elsewhere = [replace(each, used=each.capacity) if each.site in sites else each for each in servers]
    try:
        return choose_servers(elsewhere, edition, lines=1, country=country)[0]
    except CapacityExhausted:
        return choose_servers(servers, edition, lines=1, country=country)[0]


def _spread(servers: Sequence[Server], needed: int) -> tuple[Server, ...]:
    """As many servers as needed, going round the sites: the n-th of every site before the n+1-th of any."""
    seen: dict[str, int] = {}
    ranked: list[tuple[int, str, Server]] = []
    for server in sorted(servers, key=lambda each: each.name):
        rank = seen[server.site] = seen.get(server.site, -1) + 1
        ranked.append((rank, server.name, server))
    ranked.sort(key=lambda each: each[:2])
    return tuple(server for _, _, server in ranked[:needed])
