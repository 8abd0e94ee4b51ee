"""A running platform for tests: the real server in a thread of this process, and what its users have in their hands."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from app.cmcontainer import (
    ContainerSummary,
    apply_to_file,
    create_container,
    make_context,
    make_receipt,
    read_template,
    show_container,
)
from app.container import Platform
from app.core.clock import Clock, to_us
from app.core.ids import new_id
from app.core.json import JsonObject
from app.main import Server
from app.settings import Settings
from tests.fake.clock import FakeClock
from tests.service.wait import wait_until

T = TypeVar("T")
Rows = frozenset[tuple[Any, ...]]
Dump = dict[str, dict[str, Rows]]

HERE = "127.0.0.1"
ELSEWHERE = "127.0.0.2"
"""Another address of this machine: what the server sees as a caller from another network."""
SOON = timedelta(seconds=20)
USED = ("api_client", "op")
NOTED = ("access_failure",)
"""Who was refused, written down by the minute: kept out of comparisons, like the times of last use of secrets."""
FAST = {"rate_per_second": 10_000, "burst": 10_000}
"""A rate that no test reaches by accident."""
"""What changes when a client is let in: when it was."""
METERED = (*USED, "ledger_entry", "meter_counter", "call_lease", "meter_notice")
"""What a counted call changes besides its own effect."""
EDITIONS = ("datacenter", "dedicated", "high_performance", "high_availability")


class Site:
    """The whole platform in this process, on sockets of its own.

    Args:
        folder: the data directory and everything else that has to lie somewhere.
        make_platform: for platforms that are built of other parts.
        settings: what differs from the defaults.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock | None = None,
        make_platform: Callable[..., Platform] = Platform,
        **settings: Any,
    ) -> None:
        self.folder = folder
        self.clock = clock or FakeClock()
        # Every test may have an instance of its own on a dedicated server.
        settings = {"dedicated_servers": 500, **settings}
        self.settings = Settings(data_dir=folder / "data", host=HERE, port=0, **settings)
        self.platform = make_platform(self.settings, clock=self.clock)
        self._callers: dict[str, httpx2.Client] = {}
        self._port: Future[int] = Future()
        # A daemon: a test that fails before it stops its site must not keep the whole run from ending.
        self._thread = threading.Thread(target=self._serve, name="site", daemon=True)
        self._token: str | None = None

    def start(self) -> Site:
        """Serve; returns when requests are answered."""
        self._thread.start()
        self.port = self._port.result(timeout=SOON.total_seconds())
        return self

    def stop(self) -> None:
        """End in an orderly way."""
        for caller in self._callers.values():
            caller.close()
        self._callers.clear()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(timeout=30)
        assert not self._thread.is_alive(), "the server did not stop"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def _serve(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self._server = Server(self.platform, on_ready=self._note_port)
            await self._server.run()

        try:
            asyncio.run(main())
        except BaseException as error:
            if self._port.done():
                raise
            self._port.set_exception(error)

    async def _note_port(self, port: int) -> None:
        await asyncio.sleep(0)
        self._port.set_result(port)

    # Calling it.

    def call(self, method: str, path: str, *, source: str = HERE, **more: Any) -> httpx2.Response:
        """Send a request; `json`, `content`, `headers`, `auth`, `params` as in httpx."""
        return self._caller(source).request(method, path, **more)

    def admin(self, method: str, path: str, json: Any = None, **more: Any) -> httpx2.Response:
        """Call the admin API as an administrator."""
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        if method == "POST":
            headers.setdefault("Idempotency-Key", new_id("key"))
        return self.call(method, f"/admin/v1{path}", json=json, headers=headers, **more)

    @property
    def token(self) -> str:
        """A staff token with the role `admin`, made by the local operator."""
        if self._token is None:
            self._token = self.new_token("admin")
        return self._token

    def new_token(self, role: str, *, days: int = 366, person: str | None = None) -> str:
        """A staff token, asked for on the control socket; of a person named after the role unless one is named."""
        body = {
            "name": role,
            "person": person or f"{role}@wops.example",
            "role": role,
            "expires_in_days": days,
        }
        return str(good(self.operator("POST", "/admin/v1/staff-tokens", body), 201)["secret"])

    def operator(self, method: str, path: str, json: Any = None) -> httpx2.Response:
        """Call as whoever may open the control socket."""
        transport = httpx2.HTTPTransport(uds=str(self.settings.control_socket))
        with httpx2.Client(transport=transport, base_url="http://control") as caller:
            return caller.request(method, path, json=json, headers={"Idempotency-Key": new_id("key")})

    def _caller(self, source: str) -> httpx2.Client:
        if source not in self._callers:
            limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
            transport = httpx2.HTTPTransport(local_address=source, limits=limits)
            self._callers[source] = httpx2.Client(
                transport=transport, base_url=f"http://{HERE}:{self.port}", timeout=30, trust_env=False
            )
        return self._callers[source]

    # Setting it up, through the admin API.

    def add_customer(self, name: str) -> str:
        """A customer's id."""
        body = {"name": name, "display_name": name.title()}
        return str(good(self.admin("POST", "/customers", body), 201)["customer_id"])

    def add_instance(self, edition: str, name: str, *, customer: str | None = None, **asked: Any) -> Instance:
        """An instance that is ready, with access by Basic credentials (where its edition has web services)."""
        body = {
            "customer_id": customer or self.add_customer(name),
            "edition": edition,
            "name": name,
            **asked,
        }
        operation = good(self.admin("POST", "/instances", body), 202)
        wait_until(lambda: self._has_succeeded(operation["operation_id"]), f"{name} to be ready")
        read = good(self.admin("GET", f"/instances/{operation['object_id']}"))
        instance = Instance(
            site=self,
            edition=edition,
            name=name,
            instance_id=read["instance_id"],
            customer_id=read["customer_id"],
            firm_code=read["firm_code"],
        )
        instance.put_access(mode="all", methods=["basic"])
        instance.auth = instance.add_client("erp", ["admin"])
        return instance

    def _has_succeeded(self, operation_id: str) -> bool:
        state = good(self.admin("GET", f"/operations/{operation_id}"))["state"]
        assert state != "failed"
        return bool(state == "succeeded")

    # Looking into it.

    def pass_time(self, seconds: float) -> None:
        """Move the platform's clock on."""
        assert isinstance(self.clock, FakeClock)
        self.clock.advance(timedelta(seconds=seconds))

    def flush(self, *, only: str | None = None) -> None:
        """Write down everything that lines keep in memory, of one instance or of all."""
        for runtime in self.platform.runtimes():
            if only not in (None, runtime.instance_id):
                continue
            runtime.calls.flush()
            runtime.access.flush_use()

    def dump(self) -> Dump:
        """Every row of every table of every database, by the database's name, once nothing is under way."""
        self.flush()
        try:
            wait_until(self._is_idle, "operations to end")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._unfinished()}") from None
        data = self.settings.data_dir
        return {
            path.stem: dump(path) for path in (data / "platform.db", *(data / "instances").rglob("ins_*.db"))
        }

    def _is_idle(self) -> bool:
        return not self._unfinished()

    def _unfinished(self) -> list[tuple[Any, ...]]:
        """Operations somebody works on or is about to, and instances that have not been told of a change."""
        with closing(sqlite3.connect(self.settings.data_dir / "platform.db")) as connection:
            return connection.execute(
                "SELECT kind, state, object_id, error_code FROM operation"
                " WHERE finished_at_us IS NULL AND (owner IS NOT NULL OR due_at_us <= ?)"
                " UNION ALL SELECT 'instance', state, instance_id, name FROM instance"
                " WHERE applied_version < config_version AND state NOT IN ('erased', 'failed')",
                [to_us(self.clock.now())],
            ).fetchall()

    @contextmanager
    def nothing_changes(self, *, but: Sequence[str] = ()) -> Iterator[None]:
        """Compare all databases before and after, except the tables named."""
        # What an earlier test's passing of time has made due is not this test's doing.
        self.run(self.platform.expire_requests())
        before = self.dump()
        yield
        after = self.dump()
        changed = {
            (name, table): (before.get(name, {}).get(table, frozenset()) ^ rows)
            for name, tables in after.items()
            for table, rows in tables.items()
            if table not in (*but, "audit_checkpoint") and rows != before.get(name, {}).get(table)
        }
        assert not changed, f"changed: {changed}"


_UNNAMED = "SELECT type, subject FROM outbox_event WHERE action = 'housekeeping'"


@dataclass(kw_only=True)
class Instance:
    """One instance, and everything its customer has."""

    site: Site
    edition: str
    name: str
    instance_id: str
    customer_id: str
    firm_code: int
    auth: tuple[str, str] = ("", "")
    _devices: int = field(default=0, repr=False)

    @property
    def has_web_services(self) -> bool:
        return self.edition != "datacenter"

    def call(self, method: str, path: str, json: Any = None, **more: Any) -> httpx2.Response:
        """Call the instance's web services with its credentials."""
        more.setdefault("auth", self.auth)
        return self.site.call(method, f"/{self.name}/api/v1{path}", json=json, **more)

    def gate(self, method: str, path: str, json: Any = None, **more: Any) -> httpx2.Response:
        """Call the instance's gateways, as a ticket's holder."""
        return self.site.call(method, f"/{self.name}/gateways/v1{path}", json=json, **more)

    def admin(self, method: str, path: str, json: Any = None, **more: Any) -> httpx2.Response:
        """Call the admin API about this instance."""
        return self.site.admin(method, f"/instances/{self.instance_id}{path}", json, **more)

    def put_access(self, **policy: Any) -> None:
        """Replace the access policy whoever that shuts out, and let the second pass after which every line knows it."""
        version = self.admin("GET", "/access").headers["ETag"]
        good(self.admin("PUT", "/access", {"force": True, **policy}, headers={"If-Match": version}))
        self.site.pass_time(2)

    def add_client(self, name: str, scopes: list[str]) -> tuple[str, str]:
        """User name and secret of a new API client."""
        made = good(self.admin("POST", "/clients", {"name": name, "scopes": scopes, **FAST}), 201)
        self.site.pass_time(2)
        return made["client"]["username"], made["secret"]

    def contract(self, **asked: Any) -> JsonObject:
        """Put a contract in force now."""
        body = {"edition": self.edition, "lines": 2 if self.edition == "high_availability" else 1, **asked}
        self.site.pass_time(0.001)
        return dict(good(self.admin("POST", "/contracts", body), 201))

    def device(self, serial: str | None = None) -> Device:
        """A new container for this vendor's licences."""
        self._devices += 1
        path = self.site.folder / f"{self.name}-{self._devices}.container"
        template = read_template(self.gate("GET", "/template").text)
        create_container(path, template, serial=serial)
        return Device(path=path, firm_code=self.firm_code, clock=self.site.clock)

    def sell(
        self, quantity: int = 1, *, number: str | None = None, item: Mapping[str, Any] | None = None
    ) -> str:
        """Order licences of a fresh item; returns the ticket."""
        sku = new_id("sku")[-20:]
        ask = self.call if self.has_web_services else self.admin
        good(ask("POST", "/items", {"sku": sku, **ITEM, **(item or {})}), 201)
        order = {
            "order_number": number or new_id("so")[-20:],
            "positions": [{"sku": sku, "quantity": quantity}],
        }
        return str(good(ask("POST", "/orders", order), 201)["ticket"])

    def licenses(self, ticket: str) -> list[dict[str, Any]]:
        """The ticket's licences, as staff sees them."""
        return list(good(self.admin("GET", f"/tickets/{ticket}"))["licenses"])

    def meter(self, name: str) -> dict[str, Any]:
        """A meter of this month, with everything written down."""
        self.site.flush(only=self.instance_id)
        meters = good(self.admin("GET", "/usage"))["meters"]
        return next(each for each in meters if each["meter"] == name)

    def ledger(self, meter: str) -> list[dict[str, Any]]:
        """All ledger rows of this month."""
        self.site.flush(only=self.instance_id)
        period = good(self.admin("GET", "/usage"))["period"]
        rows: list[dict[str, Any]] = []
        while True:
            query = {
                "period": period,
                "meter": meter,
                "limit": 1000,
                "after": rows[-1]["position"] if rows else "",
            }
            page = good(self.admin("GET", "/ledger", params=query))
            if not page:
                return rows
            rows += page

    def events(self) -> list[tuple[Any, ...]]:
        """Sequence, type and subject of all events, out of the database: reading them is no call."""
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(
                "SELECT sequence, type, subject FROM outbox_event ORDER BY sequence"
            ).fetchall()

    @property
    def database(self) -> Path:
        (found,) = (self.site.settings.data_dir / "instances").rglob(f"{self.instance_id}.db")
        return found

    def check_books(self) -> None:
        """Counters are what the ledger says; events have no gaps, hold no ticket and say who asked."""
        self.site.flush(only=self.instance_id)
        assert good(self.admin("GET", "/meter-audit")) == {"exact": True, "discrepancies": []}
        sequences = [event[0] for event in self.events()]
        assert sequences == list(range(1, len(sequences) + 1))
        with closing(sqlite3.connect(self.database)) as connection:
            told = repr(connection.execute("SELECT * FROM outbox_event").fetchall())
            tickets = [row[0] for row in connection.execute("SELECT ticket FROM sales_order")]
            unnamed = connection.execute(_UNNAMED).fetchall()
        assert [ticket for ticket in tickets if ticket in told] == []
        with closing(sqlite3.connect(self.site.settings.data_dir / "platform.db")) as connection:
            unnamed += connection.execute(_UNNAMED).fetchall()
        assert unnamed == [], unnamed


@dataclass(frozen=True, kw_only=True)
class Device:
    """A container file on somebody's desk."""

    path: Path
    firm_code: int
    clock: Clock

    @property
    def serial(self) -> str:
        return self.show().serial

    @property
    def items(self) -> set[str]:
        return {item.license_id for item in self.show().firm_items[0].items}

    @property
    def fuc(self) -> int:
        return self.show().firm_items[0].fuc

    def show(self) -> ContainerSummary:
        return show_container(self.path)

    def context(self) -> str:
        return make_context(self.path, self.firm_code, clock=self.clock)

    def receipt(self) -> str:
        return make_receipt(self.path, self.firm_code, clock=self.clock)

    def apply(self, update: str) -> None:
        apply_to_file(self.path, update, clock=self.clock)


ITEM: Mapping[str, Any] = {"name": "Drawing Pro", "options": {"product_code": 201, "feature_map": 5}}


def good(answer: httpx2.Response, status: int = 200) -> Any:
    """The body of an answer that has to be a success."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
    return answer.json()


def refused(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem of an answer that has to be a refusal, after a look at its shape."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == f"urn:wops:request:{answer.headers['request-id']}"
    assert set(problem["hotline_text"]) == {"de", "en"}
    assert all(len(text) > 20 for text in problem["hotline_text"].values())
    assert ("retry-after" in answer.headers) == problem["retryable"]
    assert answer.headers["cache-control"] == "no-store"
    return problem


def dump(path: Path) -> dict[str, Rows]:
    """Every row of every table of an SQLite file, but for what lines note of callers by the minute."""
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: frozenset(_told(name, connection.execute(f"SELECT * FROM {name}").fetchall()))
            for name in names
            if name not in NOTED
        }


def _told(table: str, rows: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        if table in ("client_secret", "client_certificate"):
            # The last column says when it was used last.
            yield row[:-1]
        elif table != "op" or not str(row[0]).startswith("use_"):
            yield row
