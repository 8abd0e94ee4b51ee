"""One of two lines is lost under load, behind a real HAProxy: one more try is enough, and the books stay right."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest

from tests.api.site import Instance
from tests.cluster.accounted_load import (
    TRIES,
    AccountedLoad,
    Effects,
    Shop,
    Wish,
    accounted_load,
    counted_calls,
    read_effects,
    tries,
)
from tests.cluster.front_scene import LENIENT, FrontScene, Loss, running_front_scene
from tests.service.wait import wait_until

RATE = 15.0
"""Of each kind of client: what a busy machine manages."""
SOON = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True)
class Stock:
    """What clients are going to ask for: a part for each test, for nothing is activated twice."""

    kill: list[Wish]
    freeze: list[Wish]
    drain: list[Wish]
    single: list[Wish]


def stock(instance: Instance) -> Stock:
    shop = Shop(instance)
    kill, freeze, drain = (shop.wishes("keep_alive", "http2", tickets=40) for _ in range(3))
    return Stock(kill=kill, freeze=freeze, drain=drain, single=shop.wishes("keep_alive", tickets=1))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontScene[Stock]]:
    folder = tmp_path_factory.mktemp("lost")
    with running_front_scene(folder, stock, times=LENIENT, drive_lease_seconds=1.0) as scene:
        yield scene
        scene.check_books()


@contextmanager
def held_up(scene: FrontScene[Stock]) -> Iterator[None]:
    """The gateway takes connections and answers nothing."""
    os.kill(scene.gateway.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(scene.gateway.process.pid, signal.SIGCONT)


def sent_again(scene: FrontScene[Stock]) -> int:
    """How often the load balancer itself has tried once more."""
    key = scene.instance.instance_id
    found = [each.traffic for each in scene.front_site.runtime.show_stat(key).servers if each.backend == key]
    return sum((each.retries or 0) + (each.redispatches or 0) for each in found)


def lose_one(scene: FrontScene[Stock], wishes: list[Wish], loss: Loss) -> tuple[AccountedLoad, int, int]:
    """Lose a line in the middle of a load.

    Returns:
        the load, the number of calls that were counted, and how often anybody tried once more.
    """
    calls, again = counted_calls(scene), sent_again(scene)
    with accounted_load(scene, wishes, rate=RATE) as load:
        load.go_on()
        with scene.without(1, loss):
            load.go_on()
        load.go_on()
    assert not load.failed, load.story
    assert load.told_orders
    assert load.told_tickets
    assert read_effects(scene, load) == Effects(lost=[], doubled=[])
    return load, counted_calls(scene) - calls, sent_again(scene) - again + len(load.not_at_once)


def test_killed_line_costs_one_more_try_and_the_books_stay_exact(scene: FrontScene[Stock]) -> None:
    load, calls, again = lose_one(scene, scene.prepared.kill, "kill")
    # Only what it has answered within its last second may be uncounted.
    assert load.told_calls - 2 * RATE <= calls <= load.told_calls + again


def test_frozen_line_costs_one_more_try_and_does_no_harm_when_it_goes_on(scene: FrontScene[Stock]) -> None:
    load, calls, again = lose_one(scene, scene.prepared.freeze, "freeze")
    # It carries out what it had when it froze, though another line has answered that meanwhile.
    assert load.told_calls <= calls <= load.told_calls + again


def test_drained_line_costs_nothing_and_ends_by_itself(scene: FrontScene[Stock]) -> None:
    load, calls, _ = lose_one(scene, scene.prepared.drain, "drain")
    assert not load.not_at_once, load.story
    assert calls == load.told_calls


def test_update_that_a_line_was_making_when_it_froze_is_issued_once(scene: FrontScene[Stock]) -> None:
    line = scene.lines[1]
    with ExitStack() as loaded, ExitStack() as gateway_held:
        gateway_held.enter_context(held_up(scene))
        with scene.served_by(1):
            load = loaded.enter_context(accounted_load(scene, scene.prepared.single, rate=RATE, most=4))
            wait_until(
                lambda: len(load.answered) == 3, "all but the activation to be answered", deadline=SOON
            )
            wait_until(lambda: line.private.status().running == 1, "the activation to run", deadline=SOON)
            wait_until(lambda: line.private.status().open_transfers == 1, "it to be reserved", deadline=SOON)
        with scene.without(1, "freeze"):
            # The other line asks for the same update, and both get it.
            gateway_held.close()
            load.wait_done()
    assert [tries(each) for each in load.not_at_once] == [TRIES], load.story
    assert not load.failed, load.story
    wait_until(lambda: line.private.status().running == 0, "the line to end what it had", deadline=SOON)
    assert read_effects(scene, load) == Effects(lost=[], doubled=[])
