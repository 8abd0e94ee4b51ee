"""The gateway as a part of the platform: in this process, in one of its own that is looked after, or elsewhere.

embedded            FsbClient ──call──► gateway ──► boxes in threads
processes           FsbClient ──Unix socket──► `wops fsb serve` ──► a process per box; started again when it ends
unix:/… https://…   FsbClient ──Unix socket, mutual TLS──► a gateway that somebody else looks after
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from anyio import to_thread

from app.core.clock import Clock
from app.core.errors import DomainError, InputInvalid
from app.core.lock import make_private, take_lock
from app.core.open_file import raise_open_files
from app.gateway_file import NamedFile, opened
from app.settings import Settings
from fsb_gateway import FsbClient, Gateway, Keystore, create_gateway_app
from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.box_port import Box
from fsb_gateway.engine.embedded import embedded_boxes
from fsb_gateway.process.private_memory import keep_memory_private

if TYPE_CHECKING:
    from fsb_gateway.box import BoxProcesses


class GatewayRunning(DomainError):
    """Another process serves these boxes."""

    code = "gateway_running"


class GatewayPart(Protocol):
    """What the platform needs of a gateway, wherever it works. One in another process may be away at any time."""

    @property
    def control(self) -> FsbClient:
        """May do everything."""
        ...

    @property
    def jobs(self) -> FsbClient:
        """What lines send their jobs to."""
        ...

    async def close(self) -> None:
        """Finish what boxes have at hand, if they are ours, and give connections back."""
        ...


async def start_gateway(settings: Settings, *, clock: Clock) -> GatewayPart:
    """The gateway that the settings name: at work, or beginning to be.

    Raises:
        GatewayRunning: another process serves these boxes.
        InputInvalid: a certificate is missing for an address, or is none.
        FsbError: the keys cannot be opened.
    """
    if settings.boxes == "embedded":
        return await EmbeddedGateway.start(settings, clock=clock)
    if settings.boxes == "processes":
        # Whoever keeps all in one process does not wait for what looks after others.
        from app.gateway_process import SupervisedGateway  # noqa: PLC0415

        return await SupervisedGateway.start(settings, clock=clock)
    return RemoteGateway(settings)


def open_gateway(settings: Settings, *, clock: Clock, is_embedded: bool) -> Gateway:
    """A gateway of the data directory's boxes, in this process, not started. Its lock is held by the caller.

    From now on the process has keys in its memory: it is closed to debuggers, and leaves no core dumps.

    Args:
        is_embedded: software boxes work in this process, too. PKCS#11 boxes never do: their libraries want to be alone.

    Raises:
        KeystoreError: the keys cannot be opened.
    """
    directory = settings.box_dir
    keep_memory_private()
    keystore = Keystore(directory / "keys", clock=clock, key_encryption_key=settings.key_encryption_key_bytes)

    embedded = embedded_boxes(directory, keystore, clock=clock)

    @cache
    def processes() -> BoxProcesses:
        # Whoever keeps all in one process does not wait for what looks after others.
        from fsb_gateway.box import BoxProcesses  # noqa: PLC0415

        return BoxProcesses(settings.data_dir, clock=clock, log_level=settings.log_level)

    def make_box(spec: BoxSpec) -> Box:
        if not is_embedded or spec.driver != "software":
            return processes().make_box(spec)
        return embedded(spec)

    return Gateway(keystore, directory, clock=clock, make_box=make_box)


def lock_boxes(directory: Path) -> int:
    """Keep other gateways away from these boxes, until the descriptor is closed or the process ends.

    Raises:
        GatewayRunning: another process serves them.
    """
    make_private(directory)
    try:
        return take_lock(directory)
    except BlockingIOError:
        raise GatewayRunning(
            f"Another gateway serves the boxes in {directory}. Stop it, or choose another directory with --data-dir."
        ) from None


class EmbeddedGateway:
    """Everything in this process."""

    def __init__(self, gateway: Gateway, lock: int) -> None:
        self.control = self.jobs = FsbClient.in_process(create_gateway_app(gateway))
        self._gateway = gateway
        self._lock: int | None = lock

    @classmethod
    async def start(cls, settings: Settings, *, clock: Clock) -> Self:
        """Open the keys and let the boxes of last time work.

        Raises:
            GatewayRunning: another process serves these boxes.
            FsbError: the keys cannot be opened.
        """
        lock = await to_thread.run_sync(lock_boxes, settings.box_dir)
        try:
            gateway = await to_thread.run_sync(lambda: open_gateway(settings, clock=clock, is_embedded=True))
            await gateway.start()
        except BaseException:
            os.close(lock)
            raise
        return cls(gateway, lock)

    async def close(self) -> None:
        """Finish what the boxes have at hand. A second call does nothing."""
        await self.control.close()
        await self._gateway.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class RemoteGateway:
    """A gateway that somebody else starts and looks after."""

    def __init__(self, settings: Settings) -> None:
        raise_open_files()
        self.control = self.jobs = _connect(settings)

    async def close(self) -> None:
        """Give the connections back."""
        await self.control.close()


def _connect(settings: Settings) -> FsbClient:
    if settings.boxes.startswith("unix:"):
        return FsbClient.unix_socket(Path(settings.boxes.removeprefix("unix:")))
    certificate, key, ca = settings.fsb_certificate, settings.fsb_key, settings.fsb_ca
    if certificate is None or key is None or ca is None:
        raise InputInvalid(
            "A gateway at an https address needs WOPS_FSB_CERTIFICATE, WOPS_FSB_KEY and WOPS_FSB_CA.",
            field="fsb_certificate",
        )
    return opened(
        lambda: FsbClient.mutual_tls(settings.boxes, certificate=certificate, key=key, ca=ca),
        certificate=NamedFile(name="WOPS_FSB_CERTIFICATE", path=certificate),
        key=NamedFile(name="WOPS_FSB_KEY", path=key),
        ca=NamedFile(name="WOPS_FSB_CA", path=ca),
    )
