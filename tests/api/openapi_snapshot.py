"""The descriptions of all APIs as they are committed: `python -m tests.api.openapi_snapshot` writes them anew."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Final

from app.core.logging import configure_logging
from tests.api.site import Site, good

FOLDER: Final = Path(__file__).with_name("openapi")
NAMES: Final = ("instance", "admin", "portal")


def describe(site: Site, name: str) -> dict[str, Any]:
    """The description that a running platform serves."""
    return dict(good(site.call("GET", f"/openapi/{name}.json")))


def to_text(description: dict[str, Any]) -> str:
    """As it is committed."""
    return json.dumps(description, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all of them."""
    configure_logging("WARNING")
    with tempfile.TemporaryDirectory() as folder, Site(Path(folder)) as site:
        for name in NAMES:
            (FOLDER / f"{name}.json").write_text(to_text(describe(site, name)))


if __name__ == "__main__":
    main()
