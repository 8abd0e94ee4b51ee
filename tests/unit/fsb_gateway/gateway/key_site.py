"""A directory with real software boxes that outlives its gateways, which can be ended at any step with keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from cryptography import x509

from fsb_gateway import (
    BoxSpec,
    FirmKeyReport,
    Gateway,
    Keystore,
    ProgrammingResult,
    Update,
    read_update,
)
from fsb_gateway.engine.box_worker import BoxWorker
from fsb_gateway.engine.embedded import embedded_boxes
from fsb_gateway.error import BoxDisconnected
from tests.fake.clock import START, FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, make_job, p256
from tests.unit.fsb_gateway.gateway.stage import LONG

Body = Callable[[Gateway], Awaitable[Any]]
KEY_CALLS = ("generate_key", "use_key", "forget_key", "transport_key", "export_key", "import_key")
REGISTRY_CALLS = ("put_record", "issue", "retire", "remove_firm_key")


class Killed(BaseException):
    """The process ends here."""


class Life:
    """Counts the steps of a gateway, and ends it before or after one of them."""

    def __init__(self, ends_at: int | None = None, *, is_done_first: bool = False) -> None:
        self.steps = 0
        self.ends_at = ends_at
        self.is_done_first = is_done_first

    def before(self) -> bool:
        """Whether to go on after this step."""
        self.steps += 1
        if self.steps != self.ends_at:
            return True
        if not self.is_done_first:
            raise Killed
        return False


class Site:
    """A directory with boxes that outlives its gateways.

    Attributes:
        away: boxes that do not answer.
    """

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.folder = folder
        self.clock = clock
        self.away: set[str] = set()

    def run(self, body: Body, life: Life | None = None) -> Any:
        """Start a gateway, let it do something, and close it. Gives `Killed` if it was."""

        async def main() -> Any:
            gateway = self._gateway(life or Life())
            await gateway.start()
            try:
                return await body(gateway)
            except Killed as killed:
                return killed
            finally:
                await gateway.close()

        return asyncio.run(main())

    def _gateway(self, life: Life) -> Gateway:
        keystore = Keystore(self.folder / "keys", clock=self.clock)
        for name in REGISTRY_CALLS:
            setattr(keystore, name, _counted(getattr(keystore, name), life))

        make_worker = embedded_boxes(self.folder, keystore, clock=self.clock)

        def make_box(spec: BoxSpec) -> BoxWorker:
            box = make_worker(spec)
            for name in KEY_CALLS:
                setattr(box, name, self._counted_call(spec.name, getattr(box, name), life))
            return box

        return Gateway(keystore, self.folder, clock=self.clock, make_box=make_box)

    def _counted_call(self, box: str, call: Any, life: Life) -> Any:
        async def counted(*args: Any, **options: Any) -> Any:
            if box in self.away:
                raise BoxDisconnected("away", box=box)
            goes_on = life.before()
            try:
                return await call(*args, **options)
            finally:
                if not goes_on:
                    raise Killed

        return counted


def _counted(call: Any, life: Life) -> Any:
    def counted(*args: Any, **options: Any) -> Any:
        goes_on = life.before()
        try:
            return call(*args, **options)
        finally:
            if not goes_on:
                raise Killed

    return counted


async def add_boxes(gateway: Gateway, *names: str, pool: str = "shared", owner: str | None = None) -> None:
    for name in names:
        await gateway.ensure_box(BoxSpec(name=name, pool=pool, owner=owner))


async def install(gateway: Gateway, **changes: Any) -> FirmKeyReport:
    return await gateway.ensure_firm_key(INSTANCE, FIRM_CODE, **{"pool": "shared", **changes})


async def program(gateway: Gateway, job_id: str, **changes: Any) -> Update:
    result = await gateway.program(make_job(job_id, **changes), wait=LONG)
    assert isinstance(result, ProgrammingResult)
    return await read(gateway, result)


async def read(gateway: Gateway, result: ProgrammingResult) -> Update:
    """What a container that knows the root alone finds in the update."""
    root = x509.load_pem_x509_certificate((await gateway.root_certificate()).encode())
    return read_update(result.update, p256("container"), root=root, at=START)


def slot_files(site: Site) -> set[str]:
    return {path.parent.name for path in (site.folder / "slots").rglob(f"{FIRM_CODE}.json")}
