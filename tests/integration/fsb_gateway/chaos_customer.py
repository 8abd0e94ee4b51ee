"""Customers who ask again whatever happens, and write down what they got."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import httpx2

from app.core.errors import DomainError
from app.core.ids import new_id
from tests.api.device import Device
from tests.api.site import Instance
from tests.integration.fsb_gateway.chaos_site import ChaosFailed, ChaosSite

_LICENSES: Final = 8
"""Of each container's ticket."""
_GIVE_UP_SECONDS: Final = 120.0
_PAUSE_SECONDS: Final = 0.05
# What passes when whoever was killed is back; everything else is a finding.
_PASSES: Final = frozenset({429, 502, 503, 504})


class Customer(threading.Thread):
    """Collects and returns licences with one container, asks again whatever happens, and writes down what he got.

    Attributes:
        answered: every update that was acknowledged, by transfer.
        moves: what each of them does: action, and number of licences.
    """

    def __init__(self, instance: Instance, chance: random.Random, stop: threading.Event) -> None:
        super().__init__(name=f"customer of {instance.name}")
        self.instance = instance
        self.device: Device = instance.device()
        self.ticket = instance.sell(_LICENSES)
        self._free = {each["license_id"] for each in instance.licenses(self.ticket)}
        self._returned: set[str] = set()
        self._chance = chance
        self._over = stop
        site = instance.site
        assert isinstance(site, ChaosSite)
        self._http = site.caller()
        self.answered: dict[str, str] = {}
        self.moves: dict[str, tuple[str, int]] = {}
        self.arrivals: list[float] = []
        self.waits: list[float] = []
        self.counts: Counter[str] = Counter()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Go on until told to stop; then bring the container up to date."""
        try:
            with self._http:
                while not self._over.is_set():
                    self._transfer()
                self._catch_up()
        except BaseException as error:
            self.failure = error
            self._over.set()

    def _transfer(self) -> None:
        held = sorted(self.device.items - self._returned)
        is_activation = bool(self._free) and (not held or self._chance.random() < 0.55)
        wanted = self._some(sorted(self._free) if is_activation else held)
        if not wanted:
            self._catch_up()
            return
        action = "activate" if is_activation else "deactivate"
        body = {
            "action": action,
            "ticket": self.ticket,
            "license_ids": wanted,
            "context": self.device.context(),
        }
        transfer = self._send_twice("/transfers", body)
        self._free.difference_update(wanted)
        if not is_activation:
            self._returned.update(wanted)
        self._note(transfer, action, len(wanted))
        if self._chance.random() < 0.1:
            # Never arrives: it has to be in the next one.
            self.counts["lost_on_purpose"] += 1
            return
        self._apply(transfer["update"])
        if self._chance.random() < 0.7:
            self._confirm(transfer)

    def _catch_up(self) -> None:
        """Fetch what was lost on the way, and prove it."""
        body = {"action": "auto_update", "context": self.device.context()}
        answer = self._send("/transfers", body, new_id("key"))
        if answer.status_code != 204:
            transfer = self._checked(answer)
            self._apply(transfer["update"])
            self._confirm(transfer)
        self._free |= self._returned
        self._returned.clear()

    def _confirm(self, transfer: dict[str, Any]) -> None:
        path = f"/transfers/{transfer['transfer_id']}:confirm"
        receipt = {"receipt": self.device.receipt()}
        if self._send_twice(path, receipt)["state"] != "confirmed":
            raise ChaosFailed("a receipt was taken and does not confirm")
        self.counts["receipt"] += 1
        self._free |= self._returned
        self._returned.clear()

    def _apply(self, update: str) -> None:
        """The container verifies it, takes it, and takes it no second time."""
        self.device.apply(update)
        if self._chance.random() < 0.2:
            try:
                self.device.apply(update)
            except DomainError as refusal:
                if refusal.code != "update_already_applied":
                    raise
                self.counts["applied_again_refused"] += 1
            else:
                raise ChaosFailed("an update was applied twice")

    def _note(self, transfer: dict[str, Any], action: str, number: int) -> None:
        name, update = transfer["transfer_id"], transfer["update"]
        if self.answered.setdefault(name, update) != update:
            raise ChaosFailed(f"transfer {name} was answered with another update")
        self.moves[name] = (action, number)
        self.counts[action] += 1

    def _send_twice(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send, and now and then once more, under the same key or another: the answer is the same."""
        key = new_id("key")
        first = self._checked(self._send(path, body, key))
        if self._chance.random() < 0.25:
            again = self._checked(self._send(path, body, self._chance.choice([key, new_id("key")])))
            if again["transfer_id"] != first["transfer_id"] or again["update"] != first["update"]:
                raise ChaosFailed(f"a repeat was answered with something else: {first} {again}")
            self.counts["repeats"] += 1
        return first

    def _send(self, path: str, body: dict[str, Any], key: str) -> httpx2.Response:
        """Ask the same again until there is an answer."""
        started = time.monotonic()
        while True:
            with suppress(httpx2.TransportError):
                answer = self._http.post(
                    f"/{self.instance.name}/api/v1{path}",
                    json=body,
                    headers={"Idempotency-Key": key},
                    auth=self.instance.auth,
                )
                if answer.status_code not in (202, *_PASSES):
                    break
                self.counts[f"answer_{answer.status_code}"] += 1
            if time.monotonic() > started + _GIVE_UP_SECONDS:
                raise ChaosFailed(f"no answer within {_GIVE_UP_SECONDS:g} s")
            self.counts["retries"] += 1
            threading.Event().wait(_PAUSE_SECONDS)
        self.arrivals.append(time.monotonic())
        self.waits.append(self.arrivals[-1] - started)
        return answer

    def _checked(self, answer: httpx2.Response) -> dict[str, Any]:
        if answer.status_code not in (200, 201):
            raise ChaosFailed(f"{self.name} got {answer.status_code}: {answer.text}")
        return dict(answer.json())

    def _some(self, licenses: Sequence[str]) -> list[str]:
        return self._chance.sample(licenses, min(len(licenses), self._chance.randint(1, 3)))
