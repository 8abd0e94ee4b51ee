"""Control's database is gone or full of rubbish: lines go on activating, and what needs control says so."""

from __future__ import annotations

import pytest

from tests.api.site import ITEM, Instance, Site, good, refused


@pytest.fixture
def known(own_site: Site) -> Instance:
    instance = own_site.add_instance("dedicated", "known")
    good(instance.call("GET", "/items"))
    return instance


def spoil(site: Site) -> dict[str, bytes]:
    """Replace the platform database by rubbish, as a failing disk would; returns what was there."""
    saved = {}
    site.platform.platform_db.close()
    for path in site.settings.data_dir.glob("platform.db*"):
        saved[path.name] = path.read_bytes()
        path.write_bytes(b"rubbish" * 1000)
    return saved


def mend(site: Site, saved: dict[str, bytes]) -> None:
    """Put the platform database back."""
    site.platform.platform_db.close()
    for path in site.settings.data_dir.glob("platform.db*"):
        path.unlink()
    for name, content in saved.items():
        (site.settings.data_dir / name).write_bytes(content)


def test_activations_go_on_without_the_platform_database(own_site: Site, known: Instance) -> None:
    device, ticket = known.device(), known.sell(2)
    first, second = (each["license_id"] for each in known.licenses(ticket))
    saved = spoil(own_site)

    body = {"action": "activate", "ticket": ticket, "license_ids": [first], "context": device.context()}
    transfer = good(known.call("POST", "/transfers", body), 201)
    device.apply(transfer["update"])
    path = f"/transfers/{transfer['transfer_id']}:confirm"
    good(known.call("POST", path, {"receipt": device.receipt()}))
    own_site.pass_time(3600)
    good(known.call("POST", "/items", {"sku": "NEW", **ITEM}), 201)
    order = {"order_number": "SO-9", "positions": [{"sku": "NEW", "quantity": 1}]}
    good(known.call("POST", "/orders", order), 201)
    body = {**body, "license_ids": [second], "context": device.context()}
    device.apply(good(known.gate("POST", "/transfers", body), 201)["update"])
    assert device.items == {first, second}
    assert good(own_site.call("GET", "/readyz")) == {"status": "ready"}

    for method, address in (("GET", "/admin/v1/customers"), ("GET", "/unknown-name/api/v1/items")):
        answer = own_site.call(method, address, headers={"Authorization": f"Bearer {own_site.token}"})
        assert answer.status_code in (500, 503), answer.text
        refused(answer, answer.status_code, answer.json()["code"])
        assert "rubbish" not in answer.text

    mend(own_site, saved)
    known.check_books()
    assert known.meter("activations")["used"] == 2


def test_lines_know_their_instances_after_the_platform_database_was_locked(
    own_site: Site, known: Instance
) -> None:
    path = own_site.settings.data_dir / "platform.db"
    own_site.platform.platform_db.close()
    moved = path.with_name("elsewhere.db")
    path.rename(moved)
    path.mkdir()
    try:
        for _ in range(3):
            good(known.call("GET", "/items"))
            own_site.pass_time(5)
    finally:
        path.rmdir()
        moved.rename(path)
