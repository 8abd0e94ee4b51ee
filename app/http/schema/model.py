"""The two kinds of model, and pages of a list."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")


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
