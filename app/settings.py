"""Settings of the processes; the only module that reads the environment.

Order: command-line option, `WOPS_…` environment variable, systemd credential (a file `wops_…`), default. No default is
a secret.
"""

from __future__ import annotations

import base64
import binascii
import os
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

_CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"
"""**Source:** systemd.exec(5), LoadCredential=."""
_KEY_ENCRYPTION_KEY_BYTES = 32


class Settings(BaseSettings):
    """Everything that differs between two installations."""

    model_config = SettingsConfigDict(env_prefix="WOPS_", extra="ignore", hide_input_in_errors=True)

    data_dir: Path = Field(
        default=Path(".wops"), description="Databases, keys and box journals of the embedded platform."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    operation_time_ms: int = Field(
        default=0, ge=0, le=60_000, description="How long a software box takes for one programming operation."
    )
    boxes: str = Field(
        default="embedded",
        description="Where boxes work: `embedded` in this process, `processes` of their own that are started and"
        " looked after, or the address of a gateway: unix:/path/gateway.sock, https://host:port.",
    )
    fsb_certificate: Path | None = Field(
        default=None, description="PEM certificate to show a gateway at an https address."
    )
    fsb_key: Path | None = Field(default=None, description="PEM file with its private key.")
    fsb_ca: Path | None = Field(default=None, description="PEM certificate of the gateway's authority.")
    lines: Literal["embedded", "processes"] = Field(
        default="embedded",
        description="Where lines work: `embedded` in this process, or `processes` of their own behind the front.",
    )
    line_gateway: str | None = Field(
        default=None,
        description="Address of the gateway's surface for lines, if they work in processes and it is not beside that"
        " of control: unix:/path/jobs.sock, https://host:port.",
    )
    line_limits: str = Field(
        default="",
        description="What each line may use at most, if it works in a process of its own: `threads=128 memory_mb=1024"
        " open_files=8192`; another for one line: `…; shared-1: memory_mb=4096`. In force from a line's next start on.",
    )
    key_encryption_key: str | None = Field(
        default=None,
        description="32 bytes in base64 that wrap the keys of software boxes; without it, a file beside them.",
        repr=False,
    )
    program_wait_seconds: float = Field(
        default=20.0, ge=0, le=25, description="How long a caller waits for a slow box before he gets 202."
    )
    program_deadline_seconds: float = Field(
        default=600.0,
        gt=0,
        # Half of what a box journal remembers for certain (`fsb_gateway.engine.journal.KEEP`).
        le=1800,
        description="When a transfer that no box has programmed is rolled back.",
    )
    drive_lease_seconds: float = Field(
        default=30.0, gt=0, description="When another line may take over the driving of a transfer."
    )
    platform_database: str | None = Field(
        default=None,
        description="mysql+pymysql:// address of the platform database, with its password; SQLite without it.",
        repr=False,
    )
    probe_every_seconds: float = Field(
        default=600.0, gt=0, description="How often the isolation of instances is tried."
    )
    dedicated_servers: int = Field(
        default=8,
        ge=0,
        le=1000,
        description="Directories that stand for dedicated servers, made by the first start without any server.",
    )
    server_connections: int = Field(
        default=64,
        ge=8,
        le=10_000,
        description="Connections to one database server from this process at most.",
    )
    fronts: str = Field(
        default="",
        description="Load balancers whose directories are kept: `lb1=10.0.0.21:443; lb2=10.0.0.22:443`; more words say"
        " where else they listen (`plain=`, `redirect=`), where they are asked (`health=`, `peer=`), and how many"
        " requests a second one address may send (`calls=`).",
    )
    haproxy: str = Field(default="haproxy", description="HAProxy's program, by name or path.")
    front_names: str = Field(
        default="",
        description="Host names and addresses that a certificate made here is to name, with commas.",
    )
    front_certificate: Path | None = Field(
        default=None,
        description="PEM file of the load balancers' own certificate and its chain; made here without it.",
    )
    front_key: Path | None = Field(default=None, description="PEM file with its private key.")
    front_authorities: Path | None = Field(
        default=None,
        description="PEM file of the authorities that say whose a host name is; the operating system's without it.",
    )
    url: str | None = Field(default=None, description="Address of a running platform, for the command line.")
    authority: Path | None = Field(
        default=None,
        description="PEM file of who certifies that address, for the command line; the operating system's without it.",
    )
    staff_token: str | None = Field(
        default=None, description="Staff token, for the command line.", repr=False
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, and the credentials that systemd hands to a service."""
        credentials = os.environ.get(_CREDENTIALS_DIRECTORY)
        if not credentials:
            return init_settings, env_settings
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, secrets_dir=credentials)

    @field_validator("boxes")
    @classmethod
    def _check_boxes(cls, boxes: str) -> str:
        if boxes in ("embedded", "processes") or boxes.startswith("unix:/") or _is_https_address(boxes):
            return boxes
        raise ValueError("must be embedded, processes, unix:/path or https://host:port")

    @field_validator("line_gateway")
    @classmethod
    def _check_line_gateway(cls, address: str | None) -> str | None:
        if address is None or address.startswith("unix:/") or _is_https_address(address):
            return address
        raise ValueError("must be unix:/path or https://host:port")

    @field_validator("key_encryption_key")
    @classmethod
    def _check_key_encryption_key(cls, text: str | None) -> str | None:
        if text is not None:
            _decode_key(text)
        return text

    @property
    def key_encryption_key_bytes(self) -> bytes | None:
        """`key_encryption_key`, decoded."""
        return None if self.key_encryption_key is None else _decode_key(self.key_encryption_key)

    @property
    def box_dir(self) -> Path:
        """Keys, journals and sockets of the gateway and its boxes."""
        return self.data_dir.resolve() / "boxes"

    @property
    def program_wait(self) -> timedelta:
        """`program_wait_seconds` as a duration."""
        return timedelta(seconds=self.program_wait_seconds)

    @property
    def program_deadline(self) -> timedelta:
        """`program_deadline_seconds` as a duration."""
        return timedelta(seconds=self.program_deadline_seconds)

    @property
    def drive_lease(self) -> timedelta:
        """`drive_lease_seconds` as a duration."""
        return timedelta(seconds=self.drive_lease_seconds)

    @property
    def operation_time(self) -> timedelta:
        """`operation_time_ms` as a duration."""
        return timedelta(milliseconds=self.operation_time_ms)

    @property
    def platform_file(self) -> Path:
        """The embedded platform database."""
        return self.data_dir.resolve() / "platform.db"

    @property
    def platform_url(self) -> str:
        """Database URL of the platform database; holds a password if it is not the embedded one."""
        return self.platform_database or f"sqlite:///{self.platform_file}"

    @property
    def address_file(self) -> Path:
        """Where a running platform writes the address that it serves."""
        return self.data_dir / "address"

    @property
    def control_socket(self) -> Path:
        """Unix socket on which whoever may open the data directory is staff."""
        return self.data_dir / "control.sock"

    @property
    def front_socket(self) -> Path:
        """Unix socket of the trusted front: what comes in there names its caller's address and certificate."""
        return self.data_dir / "front.sock"


def _is_https_address(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme == "https" and bool(url.hostname) and url.port != 0 and url.netloc == text[8:]
    except ValueError:
        return False


def _decode_key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        # The text is secret: no cause, no excerpt.
        raise ValueError("no base64") from None
    if len(key) != _KEY_ENCRYPTION_KEY_BYTES:
        raise ValueError(f"not {_KEY_ENCRYPTION_KEY_BYTES} bytes in base64")
    return key
