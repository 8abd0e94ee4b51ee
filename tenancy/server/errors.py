"""What servers and placement refuse or fail with.

TenancyError
├── CapacityExhausted · CountryForbidden
├── ServerDescriptionUnfit · ServerAddressUnfit · ServerNameTaken · ServerTaken
├── ServerNotFound · ServerVersionConflict · ServerInUse
├── ServerUnreachable · ServerRejected · ServerUnfit      what the server itself said, or did not say
├── InstanceNotPlaced
└── DatabasePasswordDamaged
"""

from __future__ import annotations

from tenancy.errors import NotFound, TenancyError


class CapacityExhausted(TenancyError):
    """No server of the kind an instance needs has room; the details say what is missing."""

    code = "capacity_exhausted"


class CountryForbidden(TenancyError):
    """The contract does not allow the instance's data to lie in that country."""

    code = "country_forbidden"


class ServerDescriptionUnfit(TenancyError):
    """What is said of a server contradicts itself."""

    code = "server_description_unfit"


class ServerAddressUnfit(TenancyError):
    """The address leads out of the data directory, or is no host and port."""

    code = "server_address_unfit"


class ServerNameTaken(TenancyError):
    """A server has that name already."""

    code = "server_name_taken"


class ServerTaken(TenancyError):
    """A server has that address already, and nobody said that they share it; the detail names it."""

    code = "server_taken"


class ServerNotFound(NotFound):
    """There is no such server."""

    code = "server_not_found"


class ServerVersionConflict(TenancyError):
    """The server has been changed since the caller read it."""

    code = "server_version_conflict"


class ServerInUse(TenancyError):
    """Instances are placed on the server."""

    code = "server_in_use"


class InstanceNotPlaced(TenancyError):
    """No server holds a place for the instance."""

    code = "instance_not_placed"


class DatabasePasswordDamaged(TenancyError):
    """A stored database password cannot be opened: it was altered, or sealed under another credential key."""

    code = "database_password_damaged"
