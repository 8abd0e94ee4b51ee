"""A container on somebody's desk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.cmcontainer import ContainerSummary, apply_to_file, make_context, make_receipt, show_container
from app.core.clock import Clock


@dataclass(frozen=True, kw_only=True)
class Device:
    """A container file on somebody's desk."""

    path: Path
    firm_code: int
    clock: Clock

    @property
    def serial(self) -> str:
        return self.show().serial

    @property
    def items(self) -> set[str]:
        return {item.license_id for item in self.show().firm_items[0].items}

    @property
    def fuc(self) -> int:
        return self.show().firm_items[0].fuc

    def show(self) -> ContainerSummary:
        return show_container(self.path)

    def context(self) -> str:
        return make_context(self.path, self.firm_code, clock=self.clock)

    def receipt(self) -> str:
        return make_receipt(self.path, self.firm_code, clock=self.clock)

    def apply(self, update: str) -> None:
        apply_to_file(self.path, update, clock=self.clock)
