"""What staff do about the life of an instance, and a look at what it leaves."""

from __future__ import annotations

import base64
import json
import zipfile
from hashlib import sha256
from io import BytesIO
from typing import Any

import httpx2

from tests.api.site import Instance, Site, good


def read(instance: Instance) -> tuple[dict[str, Any], str]:
    """The instance as staff see it, and its ETag."""
    answer = instance.admin("GET", "")
    return good(answer), answer.headers["ETag"]


def change(instance: Instance, verb: str, body: Any = None, **headers: str) -> httpx2.Response:
    """Change an instance as it was read a moment ago."""
    sent = {"If-Match": read(instance)[1], **headers}
    return instance.admin("POST", f":{verb}", body, headers=sent)


def approved(instance: Instance, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask for something that needs two people, and have it approved; returns its operation at the end."""
    return approve_asked(instance.site, good(instance.admin("POST", f":{verb}", body), 202))


def approve_asked(site: Site, asked: dict[str, Any], *, state: str = "succeeded") -> dict[str, Any]:
    """Have a second person approve a request; returns its operation at the end."""
    second = {"Authorization": f"Bearer {site.new_token('admin', person='second@wops.example')}"}
    path = f"/approvals/{asked['approval_id']}"
    etag = site.admin("GET", path).headers["ETag"]
    done = good(site.admin("POST", f"{path}:approve", {}, headers={**second, "If-Match": etag}))
    return site.finish(done["operation_id"], state)


def check_file(answer: httpx2.Response) -> dict[str, Any]:
    """The manifest of an export that was fetched, after a comparison of its digests."""
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    digest = base64.b64encode(sha256(answer.content).digest()).decode()
    assert answer.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        manifest: dict[str, Any] = json.loads(archive.read("manifest.json"))
        for each in manifest["files"]:
            assert sha256(archive.read(each["file"])).hexdigest() == each["sha256"]
    return manifest


def rows(manifest: dict[str, Any]) -> dict[str, int]:
    return {each["table"]: each["rows"] for each in manifest["files"]}
