"""What control asks of the gateway of the Firm Security Boxes; `fsb_gateway.client.FsbClient` is one."""

from __future__ import annotations

from typing import Protocol

from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.report import BoxReport, FirmKeyReport, PoolReport


class FirmKeyInstaller(Protocol):
    """What the provisioning and the end of an instance ask."""

    async def ensure_box(self, spec: BoxSpec) -> object:
        """Set up a box, or change it. One that stopped by itself looks again whether it can work."""
        ...

    async def remove_box(self, name: str) -> object:
        """Take a box out of service; nothing happens if there is none."""
        ...

    async def ensure_firm_key(self, instance_id: str, firm_code: int, *, pool: str) -> FirmKeyReport:
        """Make a firm key unless it is there, and bring it into the pool's boxes, one at least."""
        ...

    async def remove_firm_key(self, instance_id: str, firm_code: int) -> object:
        """Destroy a firm key and take it out of every box; nothing happens if there is none."""
        ...

    async def boxes(self) -> tuple[BoxReport, ...]:
        """Every box, with the firm codes it can sign for."""
        ...

    async def firm_keys(self) -> tuple[FirmKeyReport, ...]:
        """Every firm key and where it is."""
        ...

    async def drop_firm_key(self, firm_code: int, *, box: str) -> object:
        """Destroy a firm key in one box; safe to repeat.

        Raises:
            BoxLast: no other box has it.
        """
        ...


class BoxGateway(FirmKeyInstaller, Protocol):
    """What the care for boxes and firm keys asks in addition."""

    async def pools(self) -> tuple[PoolReport, ...]:
        """Every pool."""
        ...

    async def copy_firm_key(self, firm_code: int, *, to: str) -> FirmKeyReport:
        """Bring a firm key, wrapped, into one more box; safe to repeat."""
        ...

    async def rotate_firm_key(self, firm_code: int, *, key_id: str) -> FirmKeyReport:
        """Put a new key in the place of a firm key, in every box that holds it; safe to repeat with the same id."""
        ...

    async def retire_firm_key(self, firm_code: int) -> FirmKeyReport:
        """Destroy a firm key everywhere and keep its certificates; safe to repeat."""
        ...
