"""What is known about a kind of problem, whoever meets it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

Texts = tuple[str, str]
"""Title and hotline text in one language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemKind:
    """One kind of problem.

    Attributes:
        code: stable snake_case name; the address of its page has dashes instead.
        status: HTTP status.
        title_en: a few words, the same whenever the kind occurs.
        hotline_en: one or two sentences that a hotline can read out: what to do next.
        retry_after_s: seconds after which the same request may succeed; None: repeating it does not help.
    """

    code: str
    status: int
    title_en: str
    title_de: str
    hotline_en: str
    hotline_de: str
    retry_after_s: int | None = None

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later without anybody changing it."""
        return self.retry_after_s is not None

    @property
    def is_ours(self) -> bool:
        """Whether we broke something: then nothing about the particular case is shown."""
        return self.status == 500

    @property
    def slug(self) -> str:
        """The last part of the page's address."""
        return self.code.replace("_", "-")


def problem_kind(
    code: str, status: int, *, en: Texts, de: Texts, retry_after_s: int | None = None
) -> ProblemKind:
    """A row of the catalogue."""
    return ProblemKind(
        code=code,
        status=status,
        title_en=en[0],
        title_de=de[0],
        hotline_en=en[1],
        hotline_de=de[1],
        retry_after_s=retry_after_s,
    )
