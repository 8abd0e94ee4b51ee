"""Denied networks at a line in a process of its own: told by control, kept without it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest

from app.core.ids import LineId
from lb.front.problem import FRONT_PROBLEMS, REQUEST_ID
from tenancy.front.denied_file import DENIED_FILE, write_denials
from tenancy.line_file import INSTANCES_FILE, LINES_DIRECTORY, line_directory
from tests.api.site import Instance, good
from tests.integration.app.line_site import SOON, LineSite, ServedLine
from tests.integration.app.test_line_setting import QuietPlatform
from tests.service.wait import wait_until

INSIDE, OUTSIDE = {"Forwarded": "for=192.0.2.7"}, {"Forwarded": "for=192.0.3.7"}


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LineSite]:
    folder = tmp_path_factory.mktemp("site")
    with LineSite(folder, make_platform=QuietPlatform, lines="processes", boxes="processes") as site:
        yield site


@pytest.fixture
def acme(site: LineSite) -> Instance:
    return site.add_instance("high_performance", "acme")


def read(line: ServedLine, instance: Instance, headers: dict[str, str] = INSIDE) -> httpx2.Response:
    return line.call("GET", "/acme/api/v1/licenses", auth=instance.auth, headers=headers)


def is_denied(answer: httpx2.Response) -> bool:
    return answer.status_code == 403 and answer.json()["code"] == "caller_denied"


def test_line_denies_what_control_has_told_it_and_goes_on_without_it(site: LineSite, acme: Instance) -> None:
    directory = line_directory(site.settings.data_dir, LineId("acme-1"))
    wait_until((directory / INSTANCES_FILE).exists, "the line's files", deadline=SOON)
    body = {"network": "192.0.2.0/24", "reason": "a test"}
    with ServedLine(directory) as line:
        good(read(line, acme))
        denied_id = good(site.admin("POST", "/denied-networks", body), 201)["denied_id"]
        wait_until(lambda: is_denied(read(line, acme)), "the denial", deadline=SOON)
        answer = line.call("GET", "/", headers={**INSIDE, "Request-Id": "told-by-me"})
        edge = FRONT_PROBLEMS["caller_denied"]
        assert (answer.status_code, answer.json()) == (
            edge.status,
            json.loads(edge.body.replace(REQUEST_ID, "told-by-me")),
        )
        good(read(line, acme, OUTSIDE))
        assert line.call("GET", "/readyz", headers=INSIDE).status_code == 200
        assert site.admin("DELETE", f"/denied-networks/{denied_id}").status_code == 204
        wait_until(lambda: read(line, acme).status_code == 200, "the end of it", deadline=SOON)

        good(site.admin("POST", "/denied-networks", body), 201)
        wait_until(lambda: is_denied(read(line, acme)), "the denial again", deadline=SOON)
        site.stop()
        line.kill()
        line.start()
        assert is_denied(read(line, acme)), "from its first request on"
        good(read(line, acme, OUTSIDE))

        lines = site.settings.data_dir / LINES_DIRECTORY
        (lines / DENIED_FILE).write_bytes(b"rubbish")
        wait_until(lambda: "line_file_damaged" in line.log, "the complaint", deadline=SOON)
        assert is_denied(read(line, acme))
        write_denials(lines, [])
        wait_until(lambda: read(line, acme).status_code == 200, "the file that is mended", deadline=SOON)
