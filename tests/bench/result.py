"""What a benchmark says: one JSON line."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.core.json import JsonObject, dump_json
from app.core.logging import configure_logging


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """A figure beside its mark.

    Attributes:
        unit: of value and mark; `ratio` has none.
        mark: what is to be reached, e.g. `>= 0.5`.
        ok: whether value, and whatever else the mark asks of the detail, reach it.
    """

    bench: str
    value: float
    unit: str
    mark: str
    ok: bool
    detail: JsonObject

    def line(self) -> str:
        """The one line on standard output."""
        return dump_json(
            {
                "bench": self.bench,
                "value": round(self.value, 4),
                "unit": self.unit,
                "mark": self.mark,
                "ok": self.ok,
                "detail": self.detail,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlace:
    """Where a benchmark may leave files; removed after it."""

    folder: Path

    @contextmanager
    def logged(self) -> Iterator[None]:
        """What this process logs meanwhile goes to a file; on standard error there is the benchmark's own alone."""
        with (self.folder / "log").open("w", encoding="utf-8") as log:
            configure_logging("INFO", stream=log)
            try:
                yield
            finally:
                configure_logging("WARNING")


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share of all values does not exceed, by nearest rank.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def rounded(values: Sequence[float], digits: int = 3) -> list[float]:
    """Figures as they are shown."""
    return [round(value, digits) for value in values]


def settle_memory() -> None:
    """Start every turn with the same work for the garbage collector: what lives by now is not looked at again."""
    gc.collect()
    gc.freeze()
