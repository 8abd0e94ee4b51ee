"""What keepalived is told, for each of the two by the same code. Pure.

Both begin as BACKUP and with `nopreempt`: the one that comes back leaves the addresses where they are. A loss never
lowers a priority, since `nopreempt` would leave the addresses with the weaker one: whatever is wrong ends in FAULT,
which lets them go.
"""

from __future__ import annotations

from typing import Final

from lb.pair.settings import PairNode, PairSettings

PRIORITIES: Final = (240, 230)
"""Near each other. What is missing to 256 delays the taking over, by 12 and 20 ms at 200 ms: one that steps back has
time to let the addresses go before the other has them, and if both start together one of them is first."""

_TEMPLATE: Final = """\
# Made by wops for {name}; the other one's differs in priority and addresses only.
global_defs {{
    router_id {name}
    script_user {user}
    enable_script_security
    vrrp_version 3
    # A busy machine delays neither a sign of life nor the letting go of an address.
    vrrp_rt_priority 50
    # It is killed if it computes for so many microseconds without a pause; its own 10,000 are few for a small machine.
    vrrp_rlimit_rttime 100000
    vrrp_check_unicast_src
    # Neighbours are told who has the addresses at once, again after a second, and then every ten: one that was cut off
    # hears of it within that time.
    vrrp_garp_master_repeat 3
    vrrp_garp_master_delay 1
    vrrp_garp_master_refresh 10
    # Two that could not hear each other may both have the addresses; the one that keeps them tells everybody again.
    vrrp_garp_lower_prio_repeat 3
    vrrp_garp_lower_prio_delay 1
    vrrp_higher_prio_send_advert true
}}

vrrp_script haproxy {{
    script "{check}"
    interval {interval}
    timeout {interval}
    rise 1
    fall 1
    # Nobody takes the addresses before HAProxy has answered.
    init_fail
}}

track_file aside {{
    file "{aside}"
    weight 0
    init_file 0
}}

vrrp_instance front {{
    state BACKUP
    nopreempt
    interface {interface}
    virtual_router_id {router_id}
    priority {priority}
    advert_int {advert}
    unicast_src_ip {own}
    unicast_peer {{
        {peer}
    }}
    virtual_ipaddress {{
{addresses}
    }}
    track_script {{
        haproxy
    }}
    track_file {{
        aside
    }}
}}
"""


def keepalived_text(settings: PairSettings, name: str) -> str:
    """The configuration of one of the two.

    Raises:
        PairNodeUnknown: it is neither.
    """
    node = settings.node(name)
    return _TEMPLATE.format(
        name=node.name,
        user=settings.user,
        check=settings.check,
        interval=int(settings.times.check_every.total_seconds()),
        aside=settings.aside,
        interface=node.interface,
        router_id=settings.router_id,
        priority=PRIORITIES[settings.nodes.index(node)],
        advert=f"{settings.times.advert.total_seconds():g}",
        own=node.address,
        peer=settings.peer(name).address,
        addresses="\n".join(f"        {address} dev {node.interface}" for address in settings.addresses),
    )


def forget_commands(settings: PairSettings, node: PairNode) -> list[tuple[str, ...]]:
    """What takes the shared addresses off a machine, whoever put them there; each fails harmlessly if there is none."""
    return [
        (str(settings.ip), "address", "delete", str(address), "dev", node.interface)
        for address in settings.addresses
    ]
