"""What rules may be made of: the lists, forms and bounds of the closed vocabulary. Pure."""

from __future__ import annotations

import re
from typing import Final

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""Methods that rules tell apart; of any other one only rules without methods hold."""

HEADERS: Final = ("x-client-class", "x-client-version", "x-batch", "user-agent")
"""Headers that rules may look at. None of them says who calls: a header is a wish, not a proof. `user-agent` is there
for ERP connectors that cannot be taught another one."""

HEADER_VALUE_MAX: Final = 80
"""In hexadecimal, behind tag and name, it still fits into a key of 250 characters (`lb.rule.compile`)."""
PREFIX_MAX: Final = 121
"""The slash and 120 characters. **Source:** high-availability reference §2.2."""
MOST_GROUPS: Final = 16
MOST_NETWORKS: Final = 64
"""Of one group. With 16 groups, a rule set has at most 8,192 blocks of addresses in HAProxy's map (`lb.rule.block`)."""
MOST_CLIENTS: Final = 64
WEIGHT_MAX: Final = 256
"""**Source:** HAProxy 2.6 configuration manual, `weight`."""
RETRY_AFTER_MAX: Final = 86_400

NAME: Final = re.compile(r"[a-z0-9-]{1,40}")
"""Of a rule or a group."""
PREFIX: Final = re.compile(r"/[A-Za-z0-9._~/-]{0,120}")
HEADER_VALUE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")
"""Printable ASCII, no blank at either end."""
USERNAME: Final = re.compile(r"[a-z0-9-]{1,40}\.[a-z0-9-]{1,40}")
"""Of an API client: the instance's name, a dot, its own."""
FINGERPRINT: Final = re.compile(r"[0-9a-fA-F]{64}")


def is_prefix(text: str) -> bool:
    """Whether a path may begin like this in a rule."""
    return PREFIX.fullmatch(text) is not None and ".." not in text and "//" not in text
