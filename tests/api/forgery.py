"""Containers that say what no honest one would."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from app.cmcontainer import Container, add_firm_item, describe, read_template
from app.core.ids import new_id
from fsb_gateway import ContextKind
from tests.api.site import Instance


class Forger:
    """A container in memory whose counter and time can be set at will."""

    def __init__(self, instance: Instance, *, serial: str | None = None) -> None:
        self.serial = serial or f"130-{secrets.randbelow(10**10):010d}"
        self._instance = instance
        empty = Container(
            serial=self.serial,
            signing_key=generate_private_key(SECP256R1()),
            encryption_key=generate_private_key(SECP256R1()),
            firm_items={},
        )
        self._container = add_firm_item(empty, read_template(instance.gate("GET", "/template").text))

    def context(self, *, fuc: int = 0, age: timedelta = timedelta(0), kind: ContextKind = "context") -> str:
        """A context with a counter of one's choice; each is a millisecond newer than the one before."""
        self._instance.site.pass_time(0.001)
        item = replace(self._container.firm_items[self._instance.firm_code], fuc=fuc)
        container = replace(self._container, firm_items={self._instance.firm_code: item})
        at = self._instance.site.clock.now() - age
        return describe(container, self._instance.firm_code, kind=kind, context_id=new_id("ctx"), at=at)


def flip(text: str, line: int) -> str:
    """An armoured text with one character of one line exchanged."""
    lines = text.splitlines()
    place = len(lines[line]) // 2
    other = "A" if lines[line][place] != "A" else "B"
    lines[line] = lines[line][:place] + other + lines[line][place + 1 :]
    return "\n".join(lines) + "\n"
