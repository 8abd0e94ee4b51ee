"""The budget of connections never leaks and is never overdrawn, whatever happens to single connections."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import PoolProxiedConnection

from app.core.db_pool import ConnectionBudget, SharedPool
from tests.service.wait import wait_until

LIMIT, EACH = 4, 3


class ConnectFailed(Exception):
    pass


class FakeServer:
    """Counts the connections that it has, and the most it ever had."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.open = 0
        self.most = 0
        self.refuses = False

    def connect(self) -> FakeConnection:
        with self._lock:
            if self.refuses:
                raise ConnectFailed
            self.open += 1
            self.most = max(self.most, self.open)
        return FakeConnection(self)

    def lose(self) -> None:
        with self._lock:
            self.open -= 1


class FakeConnection:
    def __init__(self, server: FakeServer) -> None:
        self._server: FakeServer | None = server

    def close(self) -> None:
        server, self._server = self._server, None
        assert server is not None, "closed twice"
        server.lose()

    def rollback(self) -> None:
        pass


def make_pool(server: FakeServer, budget: ConnectionBudget) -> SharedPool:
    return SharedPool(server.connect, budget=budget, reset_on_return=None)


class PoolMachine(RuleBasedStateMachine):
    """Three databases on one server; everything one thread can do to their connections, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.server = FakeServer()
        self.budget = ConnectionBudget(LIMIT, per_database=EACH, wait_seconds=0)
        self.pools = [make_pool(self.server, self.budget) for _ in range(3)]
        self.held: list[list[PoolProxiedConnection]] = [[], [], []]

    def busy(self) -> int:
        return sum(map(len, self.held))

    @rule(which=st.integers(0, 2), refuses=st.booleans())
    def take(self, which: int, refuses: bool) -> None:
        pool = self.pools[which]
        has_idle = bool(pool.idle)
        may_grow = pool.share.taken < EACH and self.busy() < LIMIT
        self.server.refuses = refuses
        if not has_idle and not may_grow:
            with pytest.raises(PoolTimeout):
                pool.connect()
        elif refuses and not has_idle:
            with pytest.raises(ConnectFailed):
                pool.connect()
        else:
            # An idle one that was marked as broken is replaced, and that may be refused.
            with suppress(ConnectFailed):
                self.held[which].append(pool.connect())
        self.server.refuses = False

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), how=st.sampled_from(["close", "invalidate", "lose", "break_and_close"]))
    def give_back(self, data: st.DataObject, how: str) -> None:
        which = data.draw(st.sampled_from([n for n in range(3) if self.held[n]]))
        connection = self.held[which].pop(data.draw(st.integers(0, len(self.held[which]) - 1)))
        if how == "close":
            connection.close()
        elif how == "invalidate":
            connection.invalidate()
        elif how == "break_and_close":
            connection.invalidate(soft=True)
            connection.close()

    @rule(which=st.integers(0, 2))
    def dispose(self, which: int) -> None:
        self.pools[which].dispose()

    @rule(which=st.integers(0, 2))
    def replace(self, which: int) -> None:
        self.pools[which] = self.pools[which].recreate()

    @invariant()
    def nothing_leaks(self) -> None:
        assert self.budget.open == self.server.open == self.busy() + self.budget.idle
        assert self.server.most <= LIMIT
        assert [pool.share.taken for pool in self.pools] == [
            len(self.held[n]) + len(self.pools[n].idle) for n in range(3)
        ]
        assert all(pool.share.taken <= EACH for pool in self.pools)

    def teardown(self) -> None:
        self.held = [[], [], []]
        for pool in self.pools:
            pool.dispose()
        assert self.budget.open == self.server.open == 0


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    yield made
    assert made.open == 0, "connections are left"


def test_connection_used_last_is_used_again_first(server: FakeServer) -> None:
    pool = make_pool(server, ConnectionBudget(LIMIT))
    first, second = pool.connect(), pool.connect()
    used_last = second.dbapi_connection
    first.close()
    second.close()
    again = pool.connect()
    assert again.dbapi_connection is used_last
    again.close()
    pool.dispose()


def test_two_who_renew_a_pool_at_once_lose_no_place(server: FakeServer) -> None:
    """Each goes on with what he got, as two threads do that dispose of one engine; the engine keeps the last."""
    budget = ConnectionBudget(LIMIT, per_database=EACH, wait_seconds=0)
    pool = make_pool(server, budget)
    for _ in range(3 * EACH):
        held = pool.connect()
        successors = [pool.recreate(), pool.recreate()]
        for each in successors:
            each.connect().close()
        pool = successors[-1]
        held.close()
        assert pool.share.taken == len(pool.idle) == budget.open == 1
    pool.dispose()


def test_connection_made_before_a_pool_was_renewed_is_closed_when_it_comes_back(server: FakeServer) -> None:
    pool = make_pool(server, ConnectionBudget(LIMIT))
    old = pool.connect()
    pool.recreate().connect().close()
    old.close()
    assert (server.open, len(pool.idle)) == (1, 1)
    pool.dispose()


def test_connection_past_its_age_is_replaced_when_it_is_used(server: FakeServer) -> None:
    budget = ConnectionBudget(LIMIT)
    pool = SharedPool(server.connect, budget=budget, reset_on_return=None, recycle=0)
    first = pool.connect()
    old = first.dbapi_connection
    first.close()
    again = pool.connect()
    assert again.dbapi_connection is not old
    assert budget.open == server.open == server.most == 1
    again.close()
    pool.dispose()


def test_connection_idle_longest_makes_room_whosever_it_is(server: FakeServer) -> None:
    budget = ConnectionBudget(2)
    old, young, new = (make_pool(server, budget) for _ in range(3))
    for pool in (old, young):
        pool.connect().close()
    held = new.connect()
    assert (len(old.idle), len(young.idle)) == (0, 1)
    assert server.most == 2
    held.close()
    for pool in (young, new):
        pool.dispose()


def test_budget_that_shrinks_closes_what_is_idle_at_once_and_the_rest_as_it_comes_back(
    server: FakeServer,
) -> None:
    budget = ConnectionBudget(4, per_database=4, wait_seconds=0)
    first, second = make_pool(server, budget), make_pool(server, budget)
    idle, *busy = [first.connect(), second.connect(), second.connect(), second.connect()]
    idle.close()
    budget.resize(2)
    assert (budget.open, budget.idle, server.open) == (3, 0, 3)
    busy.pop().close()
    assert (budget.open, server.open) == (2, 2)
    with pytest.raises(PoolTimeout):
        first.connect()
    for connection in busy:
        connection.close()
    assert (budget.open, budget.idle, server.open) == (2, 2, 2)
    first.dispose()
    second.dispose()


def test_budget_that_grows_lets_in_who_waits(server: FakeServer) -> None:
    budget = ConnectionBudget(1, wait_seconds=10)
    pool, other = make_pool(server, budget), make_pool(server, budget)
    held = pool.connect()
    waiting = threading.Thread(target=lambda: other.connect().close())
    waiting.start()
    wait_until(lambda: budget.waiting, "somebody to wait")
    budget.resize(2)
    waiting.join(5)
    assert not waiting.is_alive()
    held.close()
    assert (budget.open, server.most) == (2, 2)
    pool.dispose()
    other.dispose()


def test_busy_instance_leaves_room_for_others(server: FakeServer) -> None:
    budget = ConnectionBudget(LIMIT, per_database=3, wait_seconds=0)
    greedy, modest = make_pool(server, budget), make_pool(server, budget)
    held = [greedy.connect() for _ in range(3)]
    with pytest.raises(PoolTimeout):
        greedy.connect()
    held.append(modest.connect())
    for each in held:
        each.close()
    for pool in (greedy, modest):
        pool.dispose()


def test_those_who_wait_are_served_in_order_of_arrival(server: FakeServer) -> None:
    budget = ConnectionBudget(1, wait_seconds=30)
    pools = [make_pool(server, budget) for _ in range(4)]
    held = pools[0].connect()
    served: list[int] = []

    def use(n: int) -> None:
        connection = pools[n].connect()
        served.append(n)
        connection.close()

    threads = []
    for n in (3, 1, 2, 0):
        thread = threading.Thread(target=use, args=(n,))
        thread.start()
        threads.append(thread)
        wait_until(lambda: budget.waiting == len(threads), "the next one to wait")
    held.close()
    for thread in threads:
        thread.join(30)
    assert served == [3, 1, 2, 0]
    for pool in pools:
        pool.dispose()


def test_crowd_on_many_databases_stays_within_the_limit_and_everybody_is_served(server: FakeServer) -> None:
    budget = ConnectionBudget(8, per_database=3, wait_seconds=60)
    pools = [make_pool(server, budget) for _ in range(40)]
    failures: list[BaseException] = []
    served = [0] * 24

    def work(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for _ in range(150):
                _use(pools, chance)
                served[seed] += 1
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert failures == []
    assert served == [150] * 24
    assert server.most <= 8
    assert budget.open == server.open == budget.idle
    for pool in pools:
        pool.dispose()
    assert budget.open == 0


def _use(pools: list[SharedPool], chance: random.Random) -> None:
    n = chance.randrange(len(pools))
    if chance.random() < 0.05:
        # As `Engine.dispose` does; another thread may do so at once.
        pools[n] = pools[n].recreate()
    connection: Any = pools[n].connect()
    if chance.random() < 0.1:
        connection.invalidate()
    with suppress(AttributeError):
        connection.close()
