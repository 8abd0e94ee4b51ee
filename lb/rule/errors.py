"""What is wrong with rules, and what rules answer instead of a line. Pure.

RoutingError
├── RuleInvalid                 something about a rule set; `detail["field"]` says what
│   ├── RuleNameInvalid, RuleNameTaken
│   ├── RulePathInvalid, RuleMethodUnknown, RuleHeaderUnknown, RuleHeaderValueInvalid, RuleClientInvalid
│   ├── RuleSourceUnknown, RuleSourceInvalid, RuleNetworkInvalid
│   ├── RuleLineForeign, RuleLinesMissing, RuleWeightInvalid, RuleRetryAfterInvalid
│   └── RulesTooMany
├── RuleMaintenance             a rule says to come back later
└── RuleLinesNotReady           none of a rule's lines is there, and it wants no other one

What callers read stands in the catalogue of problems, by code.
"""

from __future__ import annotations

from app.core.json import JsonValue
from lb.routing import RoutingError


class RuleInvalid(RoutingError):
    """A rule set that cannot be; `field` as in `rules[3].match.path_prefix`."""

    code = "rule_invalid"

    def __init__(self, message: str, *, field: str, **detail: JsonValue) -> None:
        super().__init__(message, field=field, **detail)
        self.field = field


class RuleNameInvalid(RuleInvalid):
    """A name has a form that names do not have."""

    code = "rule_name_invalid"


class RuleNameTaken(RuleInvalid):
    """Two rules have one name."""

    code = "rule_name_taken"


class RulePathInvalid(RuleInvalid):
    """No path begins like this, or not in a way that could be compared as it was sent."""

    code = "rule_path_invalid"


class RuleMethodUnknown(RuleInvalid):
    """A method that rules do not tell apart."""

    code = "rule_method_unknown"


class RuleHeaderUnknown(RuleInvalid):
    """A header that rules do not look at."""

    code = "rule_header_unknown"


class RuleHeaderValueInvalid(RuleInvalid):
    """A value that is not printable ASCII, is too long, or has blanks around it."""

    code = "rule_header_value_invalid"


class RuleClientInvalid(RuleInvalid):
    """No API client can have this user name, or there are too many of them."""

    code = "rule_client_invalid"


class RuleSourceUnknown(RuleInvalid):
    """A rule names a group of networks that the rule set does not have."""

    code = "rule_source_unknown"


class RuleSourceInvalid(RuleInvalid):
    """A group of networks is empty or too large, its name has a wrong form, or there are too many groups."""

    code = "rule_source_invalid"


class RuleNetworkInvalid(RuleInvalid):
    """Not a network in its one form."""

    code = "rule_network_invalid"


class RuleLineForeign(RuleInvalid):
    """A rule names a line that the instance does not have."""

    code = "rule_line_foreign"


class RuleLinesMissing(RuleInvalid):
    """A rule sends requests to no line at all."""

    code = "rule_lines_missing"


class RuleWeightInvalid(RuleInvalid):
    """A weight out of its range."""

    code = "rule_weight_invalid"


class RuleRetryAfterInvalid(RuleInvalid):
    """A time to come back that is out of its range."""

    code = "rule_retry_after_invalid"


class RulesTooMany(RuleInvalid):
    """More rules than one rule set can have."""

    code = "rules_too_many"


class RuleMaintenance(RoutingError):
    """A rule of the instance answers instead of a line: come back later."""

    code = "rule_maintenance"

    def __init__(self, *, rule: str, retry_after_seconds: int) -> None:
        super().__init__(
            "This part of the instance is under maintenance at the moment; please come back later.",
            rule=rule,
            # What the answer's Retry-After is made of.
            expected_wait_seconds=retry_after_seconds,
        )
        self.retry_after_seconds = retry_after_seconds


class RuleLinesNotReady(RoutingError):
    """None of the lines that a rule names takes requests now, and the rule wants no other one."""

    code = "rule_lines_not_ready"

    def __init__(self, *, rule: str) -> None:
        super().__init__(
            "None of the lines that are meant for this request takes requests at the moment.", rule=rule
        )
