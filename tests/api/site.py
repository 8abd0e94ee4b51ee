"""A running platform for tests: the real server in a thread of this process, and what its users have in their hands."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2

from app.cmcontainer import create_container, read_template
from app.container import Platform
from app.core.clock import Clock, to_us
from app.core.ids import new_id
from app.core.json import JsonObject
from app.main import Server
from app.settings import Settings
from tests.api.device import Device
from tests.api.dump import Dump, compare, dump
from tests.fake.clock import FakeClock
from tests.service.pki import make_authority
from tests.service.wait import wait_until

T = TypeVar("T")

HERE = "127.0.0.1"
ELSEWHERE = "127.0.0.2"
"""Another address of this machine: what the server sees as a caller from another network."""
SOON = timedelta(seconds=20)
PUBLIC = make_authority("CN=Public CA")
"""Says whose a host name is."""
USED = ("api_client", "op")
"""What changes when a client is let in: when it was."""
FAST = {"rate_per_second": 10_000, "burst": 10_000}
"""A rate that no test reaches by accident."""
METERED = (*USED, "ledger_entry", "meter_counter", "call_lease", "meter_notice")
"""What a counted call changes besides its own effect."""
EDITIONS = ("datacenter", "dedicated", "high_performance", "high_availability")


class Site:
    """The whole platform in this process, on sockets of its own; as a context it is started and stopped.

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
        # Every test may have an instance of its own on a dedicated server; no round of the probe comes in between.
        public = folder / "public.pem"
        public.parent.mkdir(parents=True, exist_ok=True)
        public.write_text(PUBLIC.pem)
        settings = {
            "probe_every_seconds": 86_400,
            "dedicated_servers": 500,
            "front_authorities": public,
            **settings,
        }
        self.settings = Settings(data_dir=folder / "data", host=HERE, port=0, **settings)
        self.platform = make_platform(self.settings, clock=self.clock)
        self._callers: dict[str, httpx2.Client] = {}
        self._addresses = count(1)
        self._port: Future[int] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        # A daemon: a test that fails before it stops its site must not keep the whole run from ending.
        self._thread = threading.Thread(target=self._serve, name="site", daemon=True)
        self._token: str | None = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Serve; returns when requests are answered."""
        self._thread.start()
        self.port = self._port.result(timeout=SOON.total_seconds())
        return self

    def stop(self) -> None:
        """End in an orderly way, whether it ever came up or not."""
        self.hang_up()
        self.ask_to_stop()
        if self._thread.ident is not None:
            self._thread.join(timeout=30)
        assert not self._thread.is_alive(), "the server did not stop"

    def ask_to_stop(self) -> None:
        """Have the server end; it answers first what it has begun."""
        # A loop that has ended by itself has nobody to ask any more.
        with suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._server.stop)

    def hang_up(self) -> None:
        """Close all connections to it."""
        for caller in self._callers.values():
            caller.close()
        self._callers.clear()

    def wait_for_end(self) -> None:
        """Until the server has ended, by itself or asked to."""
        self._thread.join(timeout=SOON.total_seconds())
        assert not self._thread.is_alive(), "the server goes on"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the server's event loop."""
        assert self._loop is not None, "not started"
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def _serve(self) -> None:
        async def main() -> None:
            self._server = Server(self.platform, on_ready=self._note_port)
            self._loop = asyncio.get_running_loop()
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
        """The secret of a new staff token."""
        return str(self.add_token(role, days=days, person=person)["secret"])

    def add_token(self, role: str, *, days: int = 366, person: str | None = None) -> dict[str, Any]:
        """A staff token, asked for on the control socket; of a person named after the role unless one is named.

        Returns:
            the answer: `secret`, and `token` with its `token_id`.
        """
        body = {
            "name": role,
            "person": person or f"{role}@wops.example",
            "role": role,
            "expires_in_days": days,
        }
        return dict(good(self.operator("POST", "/admin/v1/staff-tokens", body), 201))

    def operator(self, method: str, path: str, json: Any = None) -> httpx2.Response:
        """Call as whoever may open the control socket."""
        transport = httpx2.HTTPTransport(uds=str(self.settings.control_socket))
        with httpx2.Client(transport=transport, base_url="http://control") as caller:
            return caller.request(method, path, json=json, headers={"Idempotency-Key": new_id("key")})

    def new_address(self) -> str:
        """An address of this machine that nobody has called from: for a caller whom no earlier failure slows down."""
        number = next(self._addresses)
        return f"127.1.{number // 250}.{number % 250 + 1}"

    def listed(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """Everything that a list of the admin API holds, page by page."""
        found: list[dict[str, Any]] = []
        params = {"limit": 100, **params}
        while True:
            page = good(self.admin("GET", path, params=params))
            found += page["data"]
            if not page["page"]["has_more"]:
                return found
            params["cursor"] = page["page"]["next"]

    def operation(self, operation_id: str) -> dict[str, Any]:
        """An operation as staff see it."""
        return dict(good(self.admin("GET", f"/operations/{operation_id}")))

    def finish(self, operation_id: str, state: str = "succeeded", *, pauses: float = 0) -> dict[str, Any]:
        """Wait until an operation has come to a state, and return it; steps that wait for a time see it pass.

        Args:
            pauses: seconds to pass before every look, so that the pauses between attempts go by.
        """

        def arrived() -> dict[str, Any] | None:
            if pauses:
                self.pass_time(pauses)
            found = self.operation(operation_id)
            if found["state"] == state:
                return found
            assert not found["finished_at"], found
            assert state != "succeeded" or found["state"] not in ("failed", "fatal"), found
            if any(step["waiting_for"] for step in found["steps"]):
                self.pass_time(1)
            return None

        return wait_until(arrived, f"the operation to be {state}", deadline=SOON)

    def _caller(self, source: str) -> httpx2.Client:
        if source not in self._callers:
            limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
            transport = httpx2.HTTPTransport(local_address=source, limits=limits, verify=False)
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
        self.finish(operation["operation_id"])
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

    # Looking into it.

    def pass_time(self, seconds: float) -> None:
        """Move the platform's clock on; a real one does so by itself, and its tests wait for what they want."""
        if isinstance(self.clock, FakeClock):
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
            # A test may have registered further directories.
            path.stem: dump(path)
            for path in (data / "platform.db", *data.rglob("ins_*.db"))
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
        # What the passing of time has made due is not this block's doing, and shows whether a loop came by or not.
        self.run(self.platform.expire_requests())
        self.run(self.platform.tell_customers())
        before = self.dump()
        yield
        self.run(self.platform.expire_requests())
        changed = compare(before, self.dump(), but=(*but, "audit_checkpoint"))
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

    def portal(self, method: str, path: str, json: Any = None, **more: Any) -> httpx2.Response:
        """Call the portal with the instance's credentials."""
        more.setdefault("auth", self.auth)
        headers = {"Idempotency-Key": new_id("key"), **more.pop("headers", {})}
        return self.site.call(method, f"/portal/v1/{self.name}{path}", json=json, headers=headers, **more)

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
        (found,) = self.site.settings.data_dir.rglob(f"{self.instance_id}.db")
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
