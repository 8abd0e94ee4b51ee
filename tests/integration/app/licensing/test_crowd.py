"""Sixteen clients at once, served by four lines, on what only one of them can have."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from app.core.command import Command
from app.core.errors import DomainError
from app.core.outbox import list_events
from app.licensing import LicenseState, Order, Transfer, TransferRequest, TransferState
from app.licensing.errors import TransferOpen
from tests.integration.app.licensing.world import (
    World,
    collecting,
    dump,
    order_draft,
    position,
    returning,
    updating,
)
from tests.service.crowd import at_once

CLIENTS = 16
LINES = 4
Answer = Transfer | DomainError


def all_at_once(world: World, requests: list[TransferRequest]) -> list[Answer]:
    """Send requests through four lines; refusals are answers, everything else is a failure."""
    lines = [world.line() for _ in range(LINES)]

    async def one(number: int, request: TransferRequest) -> Answer:
        try:
            transfer, _ = await lines[number % LINES].start_transfer(request, Command())
        except DomainError as refusal:
            return refusal
        assert transfer is not None
        return transfer

    async def everybody() -> list[Answer]:
        return list(await asyncio.gather(*(one(number, each) for number, each in enumerate(requests))))

    return world.run(everybody())


def issued(answers: list[Answer]) -> list[Transfer]:
    return [answer for answer in answers if isinstance(answer, Transfer)]


def codes(answers: list[Answer]) -> Counter[str]:
    return Counter(answer.code for answer in answers if isinstance(answer, DomainError))


def test_last_unit_of_the_quota_goes_to_one_of_sixteen(world: World) -> None:
    world.sell(activations=3)
    ticket = world.ticket(CLIENTS + 2)
    ids = world.ids(ticket)
    first = world.device("130-1")
    world.collect(first, ticket, ids[:2])
    devices = [world.device(f"130-{number + 100}") for number in range(CLIENTS)]
    requests = [
        collecting(device.context(), ticket, [ids[number + 2]]) for number, device in enumerate(devices)
    ]
    answers = all_at_once(world, requests)
    assert codes(answers) == {"quota_exceeded": CLIENTS - 1}
    (winner,) = issued(answers)
    assert winner.state is TransferState.ISSUED
    assert Counter(world.states(ticket)) == {
        LicenseState.COLLECTED: 3,
        LicenseState.NOT_COLLECTED: CLIENTS - 1,
    }
    usage = world.activations()
    assert (usage.used, usage.open, usage.refusal) == (3, 0, 3)
    assert len(dump(world.db)["container"]) == 2, "the losers' containers are not registered"
    world.check_books()


def test_returns_of_sixteen_at_once_are_counted_beyond_the_limit(world: World) -> None:
    ticket = world.ticket(CLIENTS)
    ids = world.ids(ticket)
    devices = [world.device(f"130-{number + 100}") for number in range(CLIENTS)]
    for device, license_id in zip(devices, ids, strict=True):
        device.apply(world.collect(device, ticket, [license_id]))
    world.sell(activations=CLIENTS)
    for device in devices:
        world.run(world.transfers.start_transfer(updating(device.context()), Command()))
    answers = all_at_once(
        world,
        [returning(device.context(), [each]) for device, each in zip(devices, ids, strict=True)],
    )
    assert len(issued(answers)) == CLIENTS
    assert world.activations().used == 2 * CLIENTS
    world.check_books()


def test_one_container_serves_one_of_sixteen_different_requests(world: World) -> None:
    ticket = world.ticket(CLIENTS)
    device = world.device()
    world.boxes.slow_down(0.3)
    requests = [collecting(device.context(), ticket, [each]) for each in world.ids(ticket)]
    answers = all_at_once(world, requests)
    winners = issued(answers)
    # A request that comes after the winner's update was issued may be served, too; never two at the same time.
    refusals = [answer for answer in answers if isinstance(answer, DomainError)]
    assert len(winners) + len(refusals) == CLIENTS
    assert set(codes(answers)) <= {"transfer_open", "context_outdated"}
    named = {answer.detail["transfer_id"] for answer in refusals if isinstance(answer, TransferOpen)}
    assert named == {winners[0].transfer_id}
    assert len(winners) == 1
    device.apply(winners[0])
    assert world.activations().used == 1
    world.check_books()


def test_one_request_sent_sixteen_times_is_one_transfer(world: World) -> None:
    ticket = world.ticket(3)
    device = world.device()
    request = collecting(device.context(), ticket)
    answers = issued(all_at_once(world, [request] * CLIENTS))
    assert len(answers) == CLIENTS
    assert len({answer.transfer_id for answer in answers}) == 1
    assert len({answer.update for answer in answers}) == 1
    device.apply(answers[0])
    assert world.activations().used == 3
    assert world.event_types().count("transfer.issued") == 1
    world.check_books()


def test_one_licence_goes_into_one_of_sixteen_containers(world: World) -> None:
    ticket = world.ticket()
    devices = [world.device(f"130-{number + 100}") for number in range(CLIENTS)]
    answers = all_at_once(world, [collecting(device.context(), ticket) for device in devices])
    (winner,) = issued(answers)
    assert sum(codes(answers).values()) == CLIENTS - 1
    assert set(codes(answers)) <= {"license_pending", "license_not_available"}
    assert world.licenses(ticket)[0].container == winner.container
    assert world.activations().used == 1
    world.check_books()


def test_sixteen_containers_collect_side_by_side(world: World) -> None:
    tickets = [world.ticket(2, number=f"N-{number}") for number in range(CLIENTS)]
    devices = [world.device(f"130-{number + 100}") for number in range(CLIENTS)]
    requests = [collecting(device.context(), ticket) for device, ticket in zip(devices, tickets, strict=True)]
    started = time.monotonic()
    answers = issued(all_at_once(world, requests))
    assert time.monotonic() - started < 10
    assert len(answers) == CLIENTS
    assert world.activations().used == 2 * CLIENTS
    world.check_books()


def test_one_order_number_with_equal_content_is_one_order(world: World) -> None:
    draft = order_draft("SAME", position(10, quantity=2))
    answers = at_once(CLIENTS, lambda _: world.orders.place_order(draft, Command()))
    done = [answer for answer in answers if not isinstance(answer, DomainError)]
    assert len(done) == CLIENTS
    assert len({each.value.ticket for each in done}) == 1
    assert sum(each.created for each in done) == 1
    assert len(world.licenses(done[0].value.ticket)) == 2
    assert world.event_types().count("order.created") == 1


def test_one_order_number_with_different_contents_goes_to_one(world: World) -> None:
    answers = at_once(
        CLIENTS,
        lambda number: (
            world.orders.place_order(order_draft("SAME", position(10, quantity=number + 1)), Command()).value
        ),
    )
    (winner,) = [answer for answer in answers if isinstance(answer, Order)]
    refusals = Counter(answer.code for answer in answers if isinstance(answer, DomainError))
    assert refusals == {"order_conflict": CLIENTS - 1}
    assert world.orders.get_order("SAME") == winner
    assert len(world.licenses(winner.ticket)) == winner.positions[0].quantity


def test_extensions_of_one_order_at_once_all_land_on_its_ticket(world: World) -> None:
    world.order("SAME", position(1))
    answers = at_once(CLIENTS, lambda number: world.order("SAME", position(number + 2)))
    assert [answer for answer in answers if isinstance(answer, DomainError)] == []
    order = world.orders.get_order("SAME")
    assert [each.position for each in order.positions] == list(range(1, CLIENTS + 2))
    assert order.license_count == len(world.licenses(order.ticket)) == CLIENTS + 1
    events = world.db.read(lambda reader: list_events(reader, after=0, limit=100))
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
