"""What a new cluster is given once it runs: servers to place instances on, and a first member of staff. Repeatable."""

from __future__ import annotations

from typing import Final

from app.cluster.place import DATABASE_ADMIN, ClusterPlace
from app.core.json import JsonObject
from app.core.net import ApiSession

_SITE: Final = "here"
_COUNTRY: Final = "DE"
_DEDICATED: Final = 8
"""As many as directories stand for dedicated servers in the platform of one process."""
_SHARED_CAPACITY: Final = 500
FIRST_PERSON: Final = "first-admin"
_TOKEN_DAYS: Final = 90


def register_servers(api: ApiSession, place: ClusterPlace) -> None:
    """The cluster's database server, as a shared one and as dedicated ones: all of them are this machine."""
    present = {str(each["name"]) for each in api.get_all("/admin/v1/servers")}
    wanted = [("db-shared", "shared", _SHARED_CAPACITY)]
    wanted += [(f"db-{n}", "dedicated", 1) for n in range(1, _DEDICATED + 1)]
    for name, purpose, capacity in wanted:
        if name in present:
            continue
        body: JsonObject = {
            "name": name,
            "kind": "mariadb",
            "purpose": purpose,
            "site": _SITE,
            "country": _COUNTRY,
            "capacity": capacity,
            "address": f"127.0.0.1:{place.memory.database_port}",
            "admin_user": DATABASE_ADMIN,
            "admin_password": place.memory.admin_password,
            "shares_address": name != wanted[0][0],
        }
        api.post("/admin/v1/servers", body)


def first_token(api: ApiSession) -> str | None:
    """A token for the first admin, shown this once; None if there are tokens already."""
    if api.get("/admin/v1/staff-tokens").list():
        return None
    body: JsonObject = {
        "name": "first admin",
        "person": FIRST_PERSON,
        "role": "admin",
        "expires_in_days": _TOKEN_DAYS,
    }
    return str(api.post("/admin/v1/staff-tokens", body).object()["secret"])
