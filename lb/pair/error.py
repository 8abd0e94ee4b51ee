"""What can be wrong with a pair of load balancers. Pure.

HaproxyError
└── PairError
    ├── PairSettingsUnfit    a setting that no configuration can hold
    └── PairNodeUnknown      it is neither of the two
"""

from __future__ import annotations

from lb.errors import HaproxyError


class PairError(HaproxyError):
    """Something about the pair of load balancers."""

    code = "pair_error"


class PairSettingsUnfit(PairError):
    """A setting has a form that must not get into a configuration."""

    code = "pair_settings_unfit"


class PairNodeUnknown(PairError):
    """A name that neither of the two has."""

    code = "pair_node_unknown"
