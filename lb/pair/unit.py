"""How systemd keeps keepalived: its end, however it comes, leaves the shared addresses nowhere behind. Pure.

**Source:** measured, high-availability reference §3.2: after kill -9 of keepalived both load balancers had the address.
"""

from __future__ import annotations

from typing import Final

from lb.pair.keepalived import forget_commands
from lb.pair.settings import PairSettings

UNIT: Final = "wops-keepalived.service"

_TEMPLATE: Final = """\
# Made by wops for {name}.
[Unit]
Description=Shared addresses of the wops load balancers
After=network-online.target
Wants=network-online.target
# Never give up: without it this one could not take over.
StartLimitIntervalSec=0

[Service]
Type=notify
{before}
ExecStart={keepalived} --dont-fork --log-console --log-detail --vrrp --use-file {configuration}
ExecReload=/bin/kill -HUP $MAINPID
# What is left of a keepalived that was killed ends with it, and then nobody looks after the addresses: they go, too.
KillMode=control-group
{after}
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""


def unit_text(settings: PairSettings, name: str) -> str:
    """The unit of one of the two.

    Raises:
        PairNodeUnknown: it is neither.
    """
    commands = [" ".join(command) for command in forget_commands(settings, settings.node(name))]
    return _TEMPLATE.format(
        name=name,
        keepalived=settings.keepalived,
        configuration=settings.configuration,
        before="\n".join(f"ExecStartPre=-{command}" for command in commands),
        after="\n".join(f"ExecStopPost=-{command}" for command in commands),
    )
