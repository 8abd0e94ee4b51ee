"""Transfers that a slow box keeps waiting."""

from __future__ import annotations

from typing import Any

import httpx2

from tests.api.site import Instance, good
from tests.service.wait import wait_until


def transfer_body(instance: Instance, quantity: int = 1, **more: Any) -> dict[str, Any]:
    """A request for a new container and a new ticket."""
    ticket, context = instance.sell(quantity), instance.device().context()
    return {"action": "activate", "ticket": ticket, "context": context, **more}


def finish_all(*instances: Instance) -> None:
    """Wait until nothing of these is in the making any more.

    Time passes only when the box has done everything: what the gateway measures must be the box.
    """

    def is_done() -> bool:
        return all(good(each.portal("GET", "/queue"))["jobs"] == [] for each in instances)

    def is_issued() -> bool:
        instances[0].site.pass_time(0.5)
        return all(each.meter("activations")["open"] == 0 for each in instances)

    wait_until(is_done, "the box to be done")
    wait_until(is_issued, "its updates to be fetched")


def warm_up(instance: Instance) -> None:
    """Let the gateway measure how slow the box is: before that it may give it several jobs at once."""
    good(instance.call("POST", "/transfers", transfer_body(instance)), 202)
    finish_all(instance)


def keep_busy(instance: Instance, *bodies: dict[str, Any]) -> list[httpx2.Response]:
    """Give the box a job of two operations and the next one, and then start these transfers: they wait.

    Everything is made first and sent then, so that all of it is there before the box has done its first job.
    """
    ahead = [transfer_body(instance, 2), transfer_body(instance)]
    for body in ahead:
        good(instance.call("POST", "/transfers", body), 202)
    return [instance.call("POST", "/transfers", body) for body in bodies]
