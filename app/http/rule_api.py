"""The rules of an instance: the same routes for its customer, in the portal, and for staff, in the admin API."""

from __future__ import annotations

from typing import Final

from app.http.etag import IfMatch, version_of
from app.http.page import Cursor, Limit
from app.http.rule_work import VersionKey, Work
from app.http.schema import rule_example as show
from app.http.schema.model import Page
from app.http.schema.rule import (
    RulesBody,
    RuleSetRead,
    RulesRead,
    RuleVersionRead,
    TrialBody,
    TrialRead,
    UndoBody,
)
from app.http.shared_route import SharedRoutes

RULE_ROUTES: Final = SharedRoutes("rules")


@RULE_ROUTES.reads("/rules", ("get", "Rules"), "Read the rules", shows=show.RULES, refused=(409,))
async def get_rules(work: Work) -> RulesRead:
    """The rules by which a line is chosen for a request, with their version as ETag, and warnings about them."""
    return await work.get_rules()


@RULE_ROUTES.route(
    "PUT",
    "/rules",
    ("put", "Rules"),
    "Change the rules",
    answer=(200, show.RULES),
    refused=(409, 412, 422, 428),
)
async def put_rules(work: Work, body: RulesBody, if_match: IfMatch = None) -> RulesRead:
    """Replace the rules; in force within a second. Each change is a new version; the same rules again are none."""
    return await work.put_rules(body, version_of(if_match))


@RULE_ROUTES.reads(
    "/rules/versions",
    ("list", "RuleVersions"),
    "List earlier rules",
    shows=show.VERSIONS,
    refused=(409, 422),
)
async def list_rule_versions(work: Work, limit: Limit = 25, cursor: Cursor = None) -> Page[RuleVersionRead]:
    """Every version that the rules ever had, newest first: who made it, when and why."""
    return await work.list_versions(limit, cursor)


@RULE_ROUTES.reads(
    "/rules/versions/{version}",
    ("get", "RuleVersion"),
    "Read earlier rules",
    shows=show.RULE_SET,
    refused=(409, 422),
)
async def get_rule_version(work: Work, version: VersionKey) -> RuleSetRead:
    """One version of the rules as it was."""
    return await work.get_version(version)


@RULE_ROUTES.route(
    "POST",
    "/rules:undo",
    ("undo", "Rules"),
    "Go back to earlier rules",
    answer=(200, show.RULES),
    refused=(400, 409, 412, 422, 428),
)
async def undo_rules(work: Work, body: UndoBody | None = None, if_match: IfMatch = None) -> RulesRead:
    """Put the version before, or the one that is named, in force again, as a new version."""
    return await work.undo(body or UndoBody(), version_of(if_match))


@RULE_ROUTES.route(
    "POST",
    "/rules:dryRun",
    ("try", "Rules"),
    "Ask where a request would go",
    answer=(200, show.TRIAL),
    refused=(400, 409, 422),
    need="look",
)
async def try_rules(work: Work, body: TrialBody) -> TrialRead:
    """To which line a request would go and why, by the rules in force or by those in the body. Changes nothing."""
    return await work.try_out(body)
