"""Pure modules do no I/O. A module is pure when the first paragraph of its docstring says so ("Pure.").

A test instead of an import-linter contract: the contract needs a list of modules by hand, which a new module escapes.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.architecture.import_graph import build_graph
from tests.architecture.source import iter_modules, module_name, parse, relative

FORBIDDEN = ("sqlalchemy", "httpx", "fastapi", "socket", "pymysql", "sqlite3", "subprocess")
# Decisions that everything else rests on: these must claim it.
MUST_BE_PURE = {
    "app.licensing.container.container_rule",
    "app.licensing.license.license",
    "app.licensing.order.order_rule",
    "app.licensing.order.ticket_code",
    "app.licensing.product_item",
    "app.licensing.transfer.transfer_plan",
    "app.operations.reconcile.plan",
    "editions.catalog",
    "editions.limit",
    "editions.period",
    "fsb_gateway.scheduler",
    "fsb_gateway.scheduling.backlog",
    "fsb_gateway.scheduling.delay",
    "fsb_gateway.scheduling.expectation",
    "fsb_gateway.scheduling.health",
    "lb.routing",
    "tenancy.access.decision",
}
# Sorts the drivers' own error classes; it calls nothing of theirs.
KNOWS_DRIVERS = {"app.core.db_error"}
_CLAIM = re.compile(r"\bPure\b(?! SQL)")


def test_pure_modules_reach_no_io() -> None:
    graph = build_graph()
    chains = [
        " → ".join(chain)
        for module in sorted(_claiming() - KNOWS_DRIVERS)
        for forbidden in FORBIDDEN
        if forbidden in graph.modules
        and (chain := graph.find_shortest_chain(importer=module, imported=forbidden))
    ]
    assert chains == []


def test_modules_that_decide_claim_to_be_pure() -> None:
    assert MUST_BE_PURE - _claiming() == set()


def _claiming() -> set[str]:
    return {module_name(relative(path)) for path in iter_modules() if _claims(path)}


def _claims(path: Path) -> bool:
    first_paragraph = (ast.get_docstring(parse(path)) or "").split("\n\n")[0]
    return _CLAIM.search(first_paragraph) is not None
