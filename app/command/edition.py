"""What an instance's edition does not contain, told before somebody wonders."""

from __future__ import annotations

from app.command.call import Call
from app.core.json import JsonObject


def has_web_services(call: Call, instance: JsonObject) -> bool:
    """Whether the contract in force lets systems call the instance.

    Args:
        instance: as the admin API shows it.
    """
    for each in call.api.get("/admin/v1/editions").list():
        if each["edition"] == instance["contract_edition"]:
            return bool(each["web_services"])
    return False


def warn_without_web_services(call: Call, path: str) -> None:
    """Tell a person that what was set up lets nobody in, if that is so.

    Args:
        path: where the admin API has the instance.
    """
    if call.as_json:
        return
    instance = call.api.get(path).object()
    if not has_web_services(call, instance):
        what = instance["contract_edition"] or "without a contract in force"
        call.tell(f"{instance['name']} ({what}) has no web services: whoever calls them is refused with 403.")
