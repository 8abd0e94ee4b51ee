"""The four editions as data. Pure.

**Source:** requirement text 001_177a8b82aaf3d992 (Wibu Operating Services, KEYnote 37, 2019), paragraph by
paragraph, unless a constant names another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from app.core.errors import InputInvalid

EditionKey = Literal["datacenter", "dedicated", "high_performance", "high_availability"]
Meter = Literal["activations", "web_service_calls"]
Overage = Literal["grace", "block"]

ACTIVATIONS: Final[Meter] = "activations"
WEB_SERVICE_CALLS: Final[Meter] = "web_service_calls"
METERS: Final[tuple[Meter, ...]] = (ACTIVATIONS, WEB_SERVICE_CALLS)
"""In the order in which a transaction that needs both touches their counter rows, so that two never wait for
each other."""

THRESHOLDS: Final = (50, 80, 100, 120)
"""Per cent of the contractual limit at which a notice is written. **Source:** "Decisions" in the domain
reference."""

GRACE_PERCENT: Final = 120
"""Per cent of the contractual limit above which `grace` refuses. **Source:** "Decisions" in the domain
reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """What an edition contains.

    Attributes:
        activations: activations and deactivations per month (and line, if `per_line`).
        calls: web-service calls per month (and line, if `per_line`); None: the edition has no web services.
        per_line: whether the amounts are multiplied by the number of contracted lines.
        min_lines: the smallest number of lines that can be contracted.
        max_lines: the largest; None: no limit.
        box_share: how much of a shared box it gets while others wait, too, relative to theirs. The published text says
            nothing of it; our own decision: as the monthly amounts of the editions that share boxes, 1,500 to 3,000. An
            edition with boxes of its own meets others only until it has been moved to them: that it then counts like
            the largest of those keeps an upgrade from slowing anybody down.
        availability_per_mille: promised availability per calendar month, in thousandths (995 is 99.5 %).
        maintenance_excluded: whether announced maintenance is taken out of the availability figure.
    """

    key: EditionKey
    name_de: str
    name_en: str
    activations: int
    calls: int | None
    per_line: bool
    min_lines: int
    max_lines: int | None
    server: Literal["shared", "dedicated"]
    box: Literal["shared", "own", "own_per_line"]
    box_share: int
    availability_per_mille: int
    maintenance_excluded: bool

    @property
    def web_services(self) -> bool:
        """Whether ERP and CRM systems can be connected."""
        return self.calls is not None

    def amount(self, meter: Meter) -> int | None:
        """What the edition contains per month (and line, if `per_line`); None: not included."""
        return self.activations if meter == ACTIVATIONS else self.calls


# "maximal 1.500 Lizenzaktivierungen oder Deaktivierungen", "keinen Zugriff auf die Webservices", "gemeinsam
# genutzten Servers", 99,5 %.
_DATACENTER = Edition(
    key="datacenter",
    name_de="Datacenter Edition",
    name_en="Datacenter Edition",
    activations=1_500,
    calls=None,
    per_line=False,
    min_lines=1,
    max_lines=1,
    server="shared",
    box="shared",
    box_share=1,
    availability_per_mille=995,
    maintenance_excluded=False,
)

# "monatlich maximal 3.000 Lizenzen", "bis zu 250.000 Aufrufe der Webservices pro Monat", "dedizierter
# Server", 99,5 %. That the box is shared follows from the next paragraph of the text, which contrasts it
# with High Performance.
_DEDICATED = Edition(
    key="dedicated",
    name_de="Dedicated Server Edition",
    name_en="Dedicated Server Edition",
    activations=3_000,
    calls=250_000,
    per_line=False,
    min_lines=1,
    max_lines=1,
    server="dedicated",
    box="shared",
    box_share=2,
    availability_per_mille=995,
    maintenance_excluded=False,
)

# "neben einem dedizierten Server auch eine dedizierte FSB", "maximal 25.000 Lizenzen pro Monat", 250.000
# calls, 99,5 %.
_HIGH_PERFORMANCE = Edition(
    key="high_performance",
    name_de="High Performance Edition",
    name_en="High Performance Edition",
    activations=25_000,
    calls=250_000,
    per_line=False,
    min_lines=1,
    max_lines=1,
    server="dedicated",
    box="own",
    box_share=2,
    availability_per_mille=995,
    maintenance_excluded=False,
)

# "zwei oder mehr Linien der High Performance Edition", "25.000 Lizenzen pro Linie, d.h. mindestens 50.000
# Aktivierungen und 500.000 Webserviceaufrufen bei zwei Linien", 99,9 % "abzüglich angekündigter Wartungen".
# One box per line: DESIGN §2.
_HIGH_AVAILABILITY = Edition(
    key="high_availability",
    name_de="Hochverfügbarkeitspaket",
    name_en="High Availability Package",
    activations=25_000,
    calls=250_000,
    per_line=True,
    min_lines=2,
    max_lines=None,
    server="dedicated",
    box="own_per_line",
    box_share=2,
    availability_per_mille=999,
    maintenance_excluded=True,
)

EDITIONS: Final[Mapping[str, Edition]] = MappingProxyType(
    {each.key: each for each in (_DATACENTER, _DEDICATED, _HIGH_PERFORMANCE, _HIGH_AVAILABILITY)}
)
"""All editions by key, from the smallest to the largest."""


def edition(key: str) -> Edition:
    """Look an edition up.

    Raises:
        InputInvalid: there is no edition of that name.
    """
    found = EDITIONS.get(key)
    if found is None:
        raise InputInvalid("There is no such edition.", field="edition", known=list(EDITIONS))
    return found


def editions_with_web_services() -> tuple[EditionKey, ...]:
    """The keys of the editions to which ERP and CRM systems can be connected."""
    return tuple(each.key for each in EDITIONS.values() if each.web_services)
