"""What the routes about rules do, whoever calls them: the customer by the portal, or staff by the admin API."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Path
from starlette.requests import Request
from starlette.responses import Response

from app.core.command import Command, Done
from app.core.ids import InstanceId
from app.http.admin_route import noted, platform_of
from app.http.etag import etag_of
from app.http.page import after_of, page_of
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
from app.operations.guard import carry_on
from lb.rule.decide import RequestFacts
from tenancy.rule.record import JudgedRules
from tenancy.rule.service import AFTER_ALL

VersionKey = Annotated[int, Path(ge=1, le=AFTER_ALL, description="Number of a version.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleWork:
    """One request about rules."""

    request: Request
    response: Response
    instance_id: InstanceId
    command: Command | None = None

    async def get_rules(self) -> RulesRead:
        """Read the rules in force."""
        judged = await to_thread.run_sync(platform_of(self.request).rules.get_rules, self.instance_id)
        self.response.headers["ETag"] = etag_of(judged.version.version)
        return RulesRead.of(judged)

    async def put_rules(self, body: RulesBody, version: int) -> RulesRead:
        """Replace the rules."""
        return await self._changed(
            partial(
                platform_of(self.request).rules.put_rules,
                self.instance_id,
                body.rule_set(),
                expected_version=version,
                reason=body.reason,
                command=self.command,
            )
        )

    async def undo(self, body: UndoBody, version: int) -> RulesRead:
        """Put an earlier version back."""
        return await self._changed(
            partial(
                platform_of(self.request).rules.undo,
                self.instance_id,
                expected_version=version,
                to=body.version,
                reason=body.reason,
                command=self.command,
            )
        )

    async def list_versions(self, limit: int, cursor: str | None) -> Page[RuleVersionRead]:
        """Show versions, newest first."""
        before = int(after_of(self.request, cursor) or AFTER_ALL)
        rules = platform_of(self.request).rules
        found = await to_thread.run_sync(
            partial(rules.list_versions, self.instance_id, before=before, limit=limit + 1)
        )
        return page_of(
            self.request,
            self.response,
            found,
            limit=limit,
            show=RuleVersionRead.of,
            key=lambda each: str(each.version),
        )

    async def get_version(self, version: int) -> RuleSetRead:
        """Show one version."""
        rules = platform_of(self.request).rules
        return RuleSetRead.of(await to_thread.run_sync(rules.get_version, self.instance_id, version))

    async def try_out(self, body: TrialBody) -> TrialRead:
        """Say what would become of a request."""
        rules = None if body.rules is None else body.rules.rule_set()
        trial = await to_thread.run_sync(
            partial(platform_of(self.request).rules.try_out, self.instance_id, facts_of(body), rules=rules)
        )
        return TrialRead.of(trial)

    async def _changed(self, change: partial[Done[JudgedRules]]) -> RulesRead:
        done = await to_thread.run_sync(change)
        # This process decides by the new rules from the next request on, others within a second; so does this one if
        # the database goes away just now: the change is made, and that is what the answer has to say.
        with carry_on("rules_not_followed", instance=self.instance_id):
            await to_thread.run_sync(platform_of(self.request).directory.follow)
        self.response.headers["ETag"] = etag_of(done.value.version.version)
        return RulesRead.of(noted(done, self.response))


def facts_of(body: TrialBody) -> RequestFacts:
    """The facts of a request that is described, by the same way as those of one that is sent."""
    headers = [(name.lower().encode(), value.encode()) for name, value in body.headers.items()]
    if body.client is not None:
        sent = base64.b64encode(f"{body.client}:".encode())
        headers = [(name, value) for name, value in headers if name != b"authorization"]
        headers.append((b"authorization", b"Basic " + sent))
    path = body.path.partition("?")[0]
    return RequestFacts.of(
        body.method,
        f"/_{path}".encode(),
        headers=headers,
        source=body.source,
        fingerprint=None if body.certificate_fingerprint is None else body.certificate_fingerprint.lower(),
    )


def take_up(work: RuleWork) -> None:
    """Say whose work a request is; a dependency of the router does, before the route asks for it."""
    work.request.state.rule_work = work


async def _work_of(request: Request) -> RuleWork:
    work: RuleWork = request.state.rule_work
    return work


Work = Annotated[RuleWork, Depends(_work_of)]
"""What a route about rules does its work with, whoever has asked."""
