"""A SoftHSM2 of one's own: its tokens lie in a folder of the test, and no other one is seen."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from fsb_gateway.box_driver import TokenSpec
from tests.service.binary import give_up

PIN = "314159"
SO_PIN = "27182818"
_MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/pkcs11/libsofthsm2.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
)


@dataclass(frozen=True, kw_only=True)
class SoftHsm:
    """The tokens of one folder; `environment` is what a process needs to see them."""

    folder: Path
    module: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"

    def make_token(self, label: str) -> TokenSpec:
        """A new token with a user PIN, and the file that holds the PIN."""
        program = ("softhsm2-util", "--init-token", "--free", "--label", label)
        secrets = ("--so-pin", SO_PIN, "--pin", PIN, "--module", str(self.module))
        subprocess.run(
            [*program, *secrets],
            env={**os.environ, **self.environment},
            check=True,
            capture_output=True,
            timeout=60,
        )
        pin_file = self.folder / f"{label}.pin"
        pin_file.touch(mode=0o600)
        pin_file.write_text(f"{PIN}\n")
        return TokenSpec(module=str(self.module), label=label, pin_file=str(pin_file))

    def take_out(self) -> None:
        """Every token is gone, as if somebody had pulled it."""
        self.tokens.rename(self.folder / "taken-out")

    def put_back(self) -> None:
        """The tokens are where they were."""
        (self.folder / "taken-out").rename(self.tokens)


def make_softhsm(folder: Path) -> SoftHsm:
    """A SoftHSM2 without tokens."""
    module = next((path for path in _MODULES if path.exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        give_up("PKCS#11 tests need softhsm2: not installed ('make test' as root installs it)")
    (folder / "tokens").mkdir(parents=True)
    (folder / "softhsm2.conf").write_text(
        f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    return SoftHsm(folder=folder, module=module)
