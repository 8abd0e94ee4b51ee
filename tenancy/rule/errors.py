"""What is refused about the rules of an instance; what may stand in rules, `lb.rule.errors` says.

TenancyError
├── NotFound
│   └── RuleVersionNotFound
└── RulesNotOffered · RuleVersionConflict · RulesNothingToUndo
"""

from __future__ import annotations

from tenancy.errors import NotFound, TenancyError


class RulesNotOffered(TenancyError):
    """The instance's edition has one line, which serves other instances, too: there is nothing to choose from."""

    code = "rules_not_offered"


class RuleVersionConflict(TenancyError):
    """The rules have been changed since the caller read them."""

    code = "rule_version_conflict"


class RuleVersionNotFound(NotFound):
    """The rules never had this version."""

    code = "rule_version_not_found"


class RulesNothingToUndo(TenancyError):
    """Nobody has changed the rules yet."""

    code = "rules_nothing_to_undo"
