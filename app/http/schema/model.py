"""The two kinds of model, and pages of a list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

T = TypeVar("T")


def _in_utc(moment: datetime) -> datetime:
    """The same moment in UTC; year 9999 west of Greenwich, and year 1 east of it, have none."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time is outside of the years 1 to 9999 in UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time that somebody sends, in whatever time zone; from here on in UTC."""


class RequestModel(BaseModel):
    """A request body: unknown fields and values of the wrong type are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)


class AnswerModel(BaseModel):
    """An answer; clients ignore fields they do not know."""

    model_config = ConfigDict(frozen=True)


class PageInfo(AnswerModel):
    """Where a list goes on."""

    next: str | None = Field(description="Cursor of the next page; null on the last one.")
    has_more: bool


class Page(AnswerModel, Generic[T]):
    """One page of a list."""

    data: list[T]
    page: PageInfo
