"""`wops demo`: the whole story against a running platform, each step with what happened and why.

Every step checks what it says; the first one that is not so ends the walk with status 1.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, cast

from app import cmcontainer
from app.command.demo import INSTANCES, DemoInstance
from app.command.output import line, out
from app.core.clock import Clock, SystemClock
from app.core.errors import DomainError
from app.core.ids import new_id
from app.core.json import JsonObject, JsonValue
from app.core.net import ApiSession, NetRejected, Reply

SKU: Final = "DRAW-PRO"
_ITEM: Final[JsonObject] = {
    "sku": SKU,
    "name": "Drawing Pro",
    "options": {"product_code": 201, "feature_map": 5, "license_quantity": 1},
    "returnable": True,
}


class StoryBroken(DomainError):
    """A step of the demo did not do what it should."""

    code = "demo_step_failed"


@dataclass(slots=True)
class Vendor:
    """One instance as its vendor uses it: through web services, or through staff where the edition has none."""

    name: str
    edition: str
    instance_id: str
    staff: ApiSession
    erp: ApiSession
    has_web_services: bool
    counted_calls: int = 0

    def call(self, reply: Reply) -> Reply:
        """Note a web-service call of the ERP; a repeat that changed nothing is not counted."""
        if "Idempotency-Replayed" not in reply.headers:
            self.counted_calls += 1
        return reply

    def order(self, number: str, quantity: int) -> JsonObject:
        """Place an order for the demo item."""
        body: JsonObject = {"order_number": number, "positions": [{"sku": SKU, "quantity": quantity}]}
        if self.has_web_services:
            return self.call(self.erp.post(f"/{self.name}/api/v1/orders", body)).object()
        return self.staff.post(f"/admin/v1/instances/{self.instance_id}/orders", body).object()

    def add_item(self) -> None:
        """Make sure that the demo item is there."""
        path = f"/{self.name}/api/v1" if self.has_web_services else f"/admin/v1/instances/{self.instance_id}"
        reply = (self.erp if self.has_web_services else self.staff).post(f"{path}/items", _ITEM)
        if self.has_web_services:
            self.call(reply)

    def usage(self) -> Mapping[str, JsonObject]:
        """This month's meters by name."""
        body = self.staff.get(f"/admin/v1/instances/{self.instance_id}/usage").object()
        return {str(each["meter"]): each for each in cast(list[JsonObject], body["meters"])}


class Story:
    """The walk. Prints as it goes.

    Args:
        staff: a session as staff.
        base_url: where instances are served.
        authority: who certifies that address.
    """

    def __init__(
        self,
        staff: ApiSession,
        *,
        base_url: str,
        authority: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._staff = staff
        self._base_url = base_url
        self._authority = authority
        self._clock = clock or SystemClock()
        self._step = 0

    def walk(self) -> None:
        """Walk through all four editions.

        Raises:
            StoryBroken: a step did not do what it should.
            NetError: the platform does not answer, or refuses what it should not.
        """
        present = {str(each["name"]): each for each in self._staff.get_all("/admin/v1/instances")}
        for instance in INSTANCES:
            if instance.name not in present:
                raise StoryBroken("The demo instances are missing; start the platform with `wops up --demo`.")
            out.print()
            out.print(line((instance.name, "bold"), f" ({instance.edition})"))
            with self._vendor(instance, str(present[instance.name]["instance_id"])) as vendor:
                self._visit(vendor)
        out.print()
        out.print(line((f"All {self._step} steps did what they should.", "green")))

    @contextmanager
    def _vendor(self, instance: DemoInstance, instance_id: str) -> Iterator[Vendor]:
        clients = f"/admin/v1/instances/{instance_id}/clients"
        name = f"walk-{new_id('w')[-8:]}"
        made = self._staff.post(clients, {"name": name, "scopes": ["read", "orders", "licenses"]}).object()
        client = cast(JsonObject, made["client"])
        with self._session(basic=(str(client["username"]), str(made["secret"]))) as erp:
            try:
                yield Vendor(
                    name=instance.name,
                    edition=instance.edition,
                    instance_id=instance_id,
                    staff=self._staff,
                    erp=erp,
                    has_web_services=instance.edition != "datacenter",
                )
            finally:
                self._staff.post(f"{clients}/{client['client_id']}:disable", {})

    def _session(self, *, basic: tuple[str, str] | None = None) -> ApiSession:
        return ApiSession(self._base_url, basic=basic, authority=self._authority)

    def _visit(self, vendor: Vendor) -> None:
        before = vendor.usage()
        self._check_access(vendor)
        with tempfile.TemporaryDirectory() as folder:
            ticket = self._order(vendor)
            with self._session() as holder:
                self._collect_and_return(vendor, holder, ticket, Path(folder) / "container.wbc")
            if vendor.has_web_services:
                self._look_at_events(vendor, ticket)
        self._check_books(vendor, before)

    def _check_access(self, vendor: Vendor) -> None:
        path = f"/{vendor.name}/api/v1/items"
        if vendor.has_web_services:
            reply = vendor.call(vendor.erp.get(path))
            self._done("the ERP calls a web service", f"user and network fit; {_limits(reply)}")
        else:
            self._refused(
                "the ERP calls a web service", "edition_feature_unavailable", lambda: vendor.erp.get(path)
            )
        with self._session(basic=("nobody", "wrong")) as stranger:
            self._refused("a stranger calls it", "instance_not_found", lambda: stranger.get(path))

    def _order(self, vendor: Vendor) -> str:
        vendor.add_item()
        number = f"SO-{new_id('x')[-10:]}"
        order = vendor.order(number, 2)
        ticket = str(order["ticket"])
        self._done(f"order {number} becomes a ticket", f"{ticket} with {order['license_count']} licences")
        again = vendor.order(number, 2)
        self._expect(
            again["ticket"] == ticket and again["license_count"] == 2, "a repeated order changes nothing"
        )
        self._done(
            "the ERP repeats the order", "the order number is the natural key: same ticket, nothing new"
        )
        return ticket

    def _collect_and_return(self, vendor: Vendor, holder: ApiSession, ticket: str, file: Path) -> None:
        gateway = f"/{vendor.name}/gateways/v1"
        template = cmcontainer.read_template(_text(holder.get(f"{gateway}/template").object()))
        serial = cmcontainer.create_container(file, template).serial
        self._done("an end user makes a container", f"{serial}, for firm code {template.firm_code}")
        context = cmcontainer.make_context(file, template.firm_code, clock=self._clock)
        request: JsonObject = {"action": "activate", "ticket": ticket, "context": context}
        transfer = self._issued(holder, gateway, holder.post(f"{gateway}/transfers", request))
        self._done(
            "the box programs both licences", f"{transfer['transfer_id']}: counter 0 → {transfer['fuc']}"
        )
        again = self._issued(holder, gateway, holder.post(f"{gateway}/transfers", request))
        self._expect(again["update"] == transfer["update"], "a repeated request gets the same update")
        self._done("the answer was lost, the user asks again", "same update, byte for byte, counted once")
        self._apply(file, transfer)
        self._confirm(holder, gateway, transfer, file, template.firm_code)
        self._return_one(holder, gateway, ticket, file, template.firm_code)

    def _apply(self, file: Path, transfer: JsonObject) -> None:
        update = str(transfer["update"])
        middle = len(update) // 2
        damaged = update[:middle] + ("A" if update[middle] != "A" else "B") + update[middle + 1 :]
        self._refused_locally(
            "a tampered update", lambda: cmcontainer.apply_to_file(file, damaged, clock=self._clock)
        )
        applied = cmcontainer.apply_to_file(file, update, clock=self._clock)
        self._done(
            "the container applies the update",
            f"counter {applied.fuc_before} → {applied.fuc_after}, signature checked up to the root",
        )
        self._refused_locally(
            "the same update again", lambda: cmcontainer.apply_to_file(file, update, clock=self._clock)
        )

    def _confirm(
        self, holder: ApiSession, gateway: str, transfer: JsonObject, file: Path, firm_code: int
    ) -> None:
        receipt = cmcontainer.make_receipt(file, firm_code, clock=self._clock)
        path = f"{gateway}/transfers/{transfer['transfer_id']}:confirm"
        confirmed = holder.post(path, {"receipt": receipt}).object()
        self._expect(confirmed["state"] == "confirmed", "a receipt confirms the transfer")
        self._done("the receipt confirms it", "both licences are confirmed_collected")

    def _return_one(self, holder: ApiSession, gateway: str, ticket: str, file: Path, firm_code: int) -> None:
        licenses = cast(list[JsonObject], holder.get(f"{gateway}/tickets/{ticket}").object()["licenses"])
        license_id = str(licenses[0]["license_id"])
        back: JsonObject = {
            "action": "deactivate",
            "ticket": ticket,
            "license_ids": [license_id],
            "context": cmcontainer.make_context(file, firm_code, clock=self._clock),
        }
        transfer = self._issued(holder, gateway, holder.post(f"{gateway}/transfers", back))
        cmcontainer.apply_to_file(file, str(transfer["update"]), clock=self._clock)
        self._done(
            "the user returns one licence",
            f"counter → {transfer['fuc']}; free again once the return is proven",
        )
        once_more: JsonObject = {
            "action": "activate",
            "ticket": ticket,
            "license_ids": [license_id],
            "context": cmcontainer.make_context(file, firm_code, clock=self._clock),
        }
        transfer = self._issued(holder, gateway, holder.post(f"{gateway}/transfers", once_more))
        cmcontainer.apply_to_file(file, str(transfer["update"]), clock=self._clock)
        self._confirm(holder, gateway, transfer, file, firm_code)
        held = cmcontainer.show_container(file).firm_items[0]
        self._expect(len(held.items) == 2 and held.fuc == 3, "the container holds both licences at counter 3")
        self._done("… and collects it again", "the newer context proved the return by itself; counter 3")

    def _look_at_events(self, vendor: Vendor, ticket: str) -> None:
        api = f"/{vendor.name}/api/v1"
        licenses = vendor.call(vendor.erp.get(f"{api}/licenses", ticket=ticket)).list()
        states = {str(each["state"]) for each in licenses}
        self._expect(
            states == {"confirmed_collected"}, f"both licences are confirmed_collected, not {states}"
        )
        last = vendor.call(vendor.erp.get(f"{api}/events", after=0, limit=1)).object()["last_sequence"]
        after = max(0, int(str(last)) - 5)
        events = vendor.call(vendor.erp.get(f"{api}/events", after=after)).list()
        sequences = [int(str(each["sequence"])) for each in events]
        self._expect(
            sequences == list(range(after + 1, after + 1 + len(events))), "event numbers have no gap"
        )
        self._done(
            "the ERP reads what happened", f"events up to number {last}, without a gap: {events[-1]['type']}"
        )

    def _check_books(self, vendor: Vendor, before: Mapping[str, JsonObject]) -> None:
        after = vendor.usage()
        counted = _used(after, "activations") - _used(before, "activations")
        self._expect(counted == 4, f"3 collections and 1 return count 4, not {counted}")
        audit = vendor.staff.get(f"/admin/v1/instances/{vendor.instance_id}/meter-audit").object()
        self._expect(audit["exact"] is True, "every counter is what the ledger says")
        meter = after["activations"]
        self._done(
            "the books", f"4 counted, {meter['used']} of {meter['limit']} this month; counters = ledger"
        )
        if vendor.has_web_services:
            self._check_calls(vendor, before)

    def _check_calls(self, vendor: Vendor, before: Mapping[str, JsonObject]) -> None:
        until = self._clock.monotonic() + _WRITTEN_WITHIN_SECONDS
        counted = -1
        while counted != vendor.counted_calls and self._clock.monotonic() < until:
            counted = _used(vendor.usage(), "web_service_calls") - _used(before, "web_service_calls")
        self._expect(
            counted == vendor.counted_calls, f"{vendor.counted_calls} calls are counted, not {counted}"
        )
        self._done(
            "the ERP's calls", f"{counted} counted, within a second of their answers; repeats are free"
        )

    def _issued(self, session: ApiSession, gateway: str, reply: Reply) -> JsonObject:
        transfer = reply.object()
        waited = 0.0
        while transfer["state"] == "reserved" and waited < _PATIENCE_SECONDS:
            self._clock.sleep(_ASK_EVERY_SECONDS)
            waited += _ASK_EVERY_SECONDS
            transfer = session.get(f"{gateway}/transfers/{transfer['transfer_id']}").object()
        self._expect(transfer["state"] in ("issued", "confirmed"), "the transfer is issued")
        return transfer

    def _done(self, what: str, why: str) -> None:
        self._step += 1
        out.print(line("  ", ("✓", "green"), f" {what}: ", (why, "dim")))

    def _refused(self, what: str, code: str, attempt: Callable[[], object]) -> None:
        try:
            attempt()
        except NetRejected as refusal:
            self._expect(refusal.reason == code, f"{what} is refused with {code}, not {refusal.reason}")
            self._done(f"{what}: refused", f"{refusal.status} {code}")
            return
        self._fail(f"{what} should have been refused with {code}")

    def _refused_locally(self, what: str, attempt: Callable[[], object]) -> None:
        try:
            attempt()
        except DomainError as refusal:
            self._done(f"{what}: refused by the container", refusal.code)
            return
        self._fail(f"the container should have refused {what}")

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            self._fail(what)

    def _fail(self, what: str) -> NoReturn:
        out.print(line("  ", ("✗", "red"), f" {what}"))
        raise StoryBroken(f"This does not hold: {what}.")


_ASK_EVERY_SECONDS: Final = 0.2
_PATIENCE_SECONDS: Final = 60.0
_WRITTEN_WITHIN_SECONDS: Final = 2.0
"""A read is written down within a second of its answer; this leaves room for a busy machine."""


def _used(meters: Mapping[str, JsonObject], meter: str) -> int:
    value = meters[meter]["used"]
    return value if isinstance(value, int) else 0


def _limits(reply: Reply) -> str:
    return f"RateLimit {reply.headers.get('RateLimit', '–')}"


def _text(template: Mapping[str, JsonValue]) -> str:
    return cmcontainer.write_template(
        cmcontainer.Template(
            firm_code=int(str(template["firm_code"])),
            instance=str(template["instance"]),
            root_certificate=str(template["root_certificate"]),
        )
    )
