"""Drivers: what is behind a box. In software, a PKCS#11 token, or in software with faults."""

from __future__ import annotations

import threading
from pathlib import Path

from fsb_gateway.box_driver import BoxDriver, BoxSpec
from fsb_gateway.driver.fault import FaultyDriver
from fsb_gateway.driver.software import SoftwareDriver
from fsb_gateway.key.store import Keystore


def open_driver(
    spec: BoxSpec, stopping: threading.Event | None = None, *, slots: Path, keystore: Keystore
) -> BoxDriver:
    """Open a box's keys, in the process and on the thread that will use them.

    A software box's driver is a `FaultyDriver`, whose `faults` follow a changed specification. A PKCS#11 box's driver
    asks its token for nothing yet, which may be absent: `reload` does, and says what is wrong.

    Args:
        stopping: ends whatever the driver waits for.
        slots: the directory with one folder per box.

    Raises:
        BoxFailed: the PKCS#11 library is used by another box of this process.
        OSError: the box's folder cannot be used.
    """
    if spec.token is None:
        software = SoftwareDriver(slots / spec.name, spec, keystore=keystore)
        return FaultyDriver(software, spec.faults, stopping=stopping)
    # Only the process of such a box loads a foreign library.
    from fsb_gateway.driver.pkcs11 import Pkcs11Driver  # noqa: PLC0415

    return Pkcs11Driver(slots / spec.name, spec.token)
