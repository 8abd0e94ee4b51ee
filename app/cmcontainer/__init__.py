"""A CmContainer in software: the client side of License Central.

The functions work on a container file; `Container` and `apply_update` are the same rules without a file.
"""

from app.cmcontainer.container import (
    Container,
    FirmItem,
    ProductItem,
    Template,
    add_firm_item,
    describe,
    firm_item,
)
from app.cmcontainer.container_file import (
    ContainerSummary,
    add_template,
    apply_to_file,
    create_container,
    make_context,
    make_receipt,
    read_template,
    show_container,
    verify_for_file,
    write_template,
)
from app.cmcontainer.errors import (
    ContainerFileDamaged,
    ContainerFileError,
    ContainerFileExists,
    ContainerFileMissing,
    FirmCodeUnknown,
    TemplateConflict,
    TemplateInvalid,
    UpdateAlreadyApplied,
    UpdateRefused,
    UpdateTooNew,
    UpdateTooOld,
)
from app.cmcontainer.update_rule import AppliedUpdate, apply_update, verify_update

__all__ = [
    "AppliedUpdate",
    "Container",
    "ContainerFileDamaged",
    "ContainerFileError",
    "ContainerFileExists",
    "ContainerFileMissing",
    "ContainerSummary",
    "FirmCodeUnknown",
    "FirmItem",
    "ProductItem",
    "Template",
    "TemplateConflict",
    "TemplateInvalid",
    "UpdateAlreadyApplied",
    "UpdateRefused",
    "UpdateTooNew",
    "UpdateTooOld",
    "add_firm_item",
    "add_template",
    "apply_to_file",
    "apply_update",
    "create_container",
    "describe",
    "firm_item",
    "make_context",
    "make_receipt",
    "read_template",
    "show_container",
    "verify_for_file",
    "verify_update",
    "write_template",
]
