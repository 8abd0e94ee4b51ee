"""Servers as the admin API shows and takes them. No answer holds a password."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field, SecretStr, StrictBool, StrictInt

from app.http.schema.model import AnswerModel, RequestModel
from tenancy import Server, ServerChange, ServerCreate
from tenancy.server.record import MOST_CAPACITY

Capacity = Annotated[StrictInt, Field(ge=1, le=MOST_CAPACITY)]
StateName = Literal["active", "draining", "retired"]
_LONGEST_PEM: Final = 16_384


class ServerCreateBody(RequestModel):
    """A server that instances can be placed on from now on."""

    name: str = Field(max_length=64, examples=["db-1"])
    kind: Literal["sqlite", "mariadb"]
    purpose: Literal["shared", "dedicated"]
    site: str = Field(max_length=64, description="Data centre, for spreading lines.", examples=["karlsruhe"])
    country: str = Field(
        min_length=2, max_length=2, description="ISO 3166-1 alpha-2, capital letters.", examples=["DE"]
    )
    capacity: Capacity = Field(default=1, description="How many instances it may hold; 1 if dedicated.")
    address: str = Field(
        max_length=512,
        description="`sqlite`: a directory below the data directory. `mariadb`: host:port.",
        examples=["127.0.0.1:3306"],
    )
    admin_user: str | None = Field(default=None, max_length=64, description="Makes databases and users.")
    admin_password: SecretStr | None = Field(default=None, max_length=512, description="Stored encrypted.")
    tls_ca: str | None = Field(
        default=None,
        max_length=_LONGEST_PEM,
        description="PEM of the authority its certificate comes from; required unless it is a loopback address.",
    )
    shares_address: StrictBool = Field(
        default=False,
        description="Another server may be registered at this address: both share hardware and connections.",
    )

    def asked(self) -> ServerCreate:
        """As the domain takes it."""
        password = self.admin_password
        return ServerCreate(
            name=self.name,
            kind=self.kind,
            purpose=self.purpose,
            site=self.site,
            country=self.country,
            capacity=self.capacity,
            address=self.address,
            admin_user=self.admin_user,
            admin_password=None if password is None else password.get_secret_value(),
            tls_ca=self.tls_ca,
            shares_address=self.shares_address,
        )


class ServerChangeBody(RequestModel):
    """What changes; what is left out stays."""

    capacity: Capacity | None = None
    state: StateName | None = Field(
        default=None,
        description="`draining` keeps what it has and takes nothing new; `retired` holds nothing.",
    )
    admin_user: str | None = Field(
        default=None, min_length=1, max_length=64, description="Of a database server; for admins."
    )
    admin_password: SecretStr | None = Field(
        default=None, min_length=1, max_length=512, description="The new one, tried out first; for admins."
    )
    tls_ca: str | None = Field(
        default=None,
        max_length=_LONGEST_PEM,
        description="PEM of the authority its certificate comes from now; for admins.",
    )

    def asked(self) -> ServerChange:
        """As the domain takes it."""
        password = self.admin_password
        return ServerChange(
            capacity=self.capacity,
            state=self.state,
            admin_user=self.admin_user,
            admin_password=None if password is None else password.get_secret_value(),
            tls_ca=self.tls_ca,
        )


class ServerRead(AnswerModel):
    """A server."""

    server_id: str
    name: str
    kind: str
    purpose: str
    site: str
    country: str
    capacity: int
    used: int
    state: str
    address: str
    admin_user: str | None
    encrypted: bool = Field(description="Whether connections to it are encrypted, and its name is checked.")
    version: int
    created_at: datetime

    @classmethod
    def of(cls, server: Server) -> ServerRead:
        """From the domain's value."""
        return cls(
            server_id=server.server_id,
            name=server.name,
            kind=server.kind,
            purpose=server.purpose,
            site=server.site,
            country=server.country,
            capacity=server.capacity,
            used=server.used,
            state=server.state,
            address=server.address,
            admin_user=server.admin_user,
            encrypted=server.tls_ca is not None,
            version=server.version,
            created_at=server.created_at,
        )


SERVER_EXAMPLE: Final[dict[str, Any]] = {
    "server_id": "srv_019b0a3c3a1b7c2d8e9f0a1b2c3d4e5f",
    "name": "db-1",
    "kind": "mariadb",
    "purpose": "shared",
    "site": "karlsruhe",
    "country": "DE",
    "capacity": 500,
    "used": 17,
    "state": "active",
    "address": "127.0.0.1:3306",
    "admin_user": "wops_admin",
    "encrypted": False,
    "version": 1,
    "created_at": "2026-11-21T10:15:00Z",
}
