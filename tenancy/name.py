"""Names of customers, instances and API clients. Pure.

They become URL segments, user names, line names and HAProxy map keys, so they hold nothing that means
something anywhere.
"""

from __future__ import annotations

import re

from tenancy.errors import NameUnfit

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,38}[a-z0-9])\Z")
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{1,38}[a-z0-9]$"
"""The rule as a JSON schema pattern, for whoever describes the API."""

RESERVED_NAMES = frozenset(
    {
        # First URL segments of the platform itself (DESIGN §8), now or soon.
        *(
            "admin",
            "api",
            "console",
            "docs",
            "favicon",
            "gateways",
            "health",
            "healthz",
            "livez",
            "login",
            "logout",
        ),
        *(
            "metrics",
            "openapi",
            "portal",
            "problems",
            "readyz",
            "redoc",
            "soap",
            "static",
            "status",
            "well-known",
        ),
        # Words that name something else in the platform.
        *(
            "control",
            "default",
            "instance",
            "localhost",
            "platform",
            "root",
            "shared",
            "staff",
            "system",
            "wops",
            "www",
        ),
    }
)
"""Names nobody gets. `shared` is the pool and the line that Datacenter instances have in common."""


def check_name(name: str) -> str:
    """Return the name if it may be taken.

    Raises:
        NameUnfit: it breaks the rules, or is reserved.
    """
    if not _NAME.match(name):
        raise NameUnfit(
            "A name has 3 to 40 characters: small letters a to z, digits and hyphens, no hyphen first or last.",
            pattern=NAME_PATTERN,
        )
    if name in RESERVED_NAMES:
        raise NameUnfit(f"The name {name} is reserved; choose another one.", reserved=True)
    return name


def is_name(name: str) -> bool:
    """Whether somebody could have this name. Costs a microsecond: ask before asking a database."""
    return _NAME.match(name) is not None and name not in RESERVED_NAMES


def make_username(instance_name: str, client_name: str) -> str:
    """The user name of an API client: says at a glance where it belongs."""
    return f"{instance_name}.{client_name}"
