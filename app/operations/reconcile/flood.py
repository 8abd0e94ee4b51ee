"""Whether so much looks sick at once that it is more likely us, or the network. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from app.operations.reconcile.observation import EVERY, Evidence, Observation, Subject, SubjectKind
from app.operations.reconcile.past import Rails


def flooded_kinds(observations: Sequence[Observation], rails: Rails) -> frozenset[SubjectKind]:
    """Kinds of parts of which too many are sick."""
    by_kind = _by_kind(observations)
    return frozenset(kind for kind, parts in by_kind.items() if _is_flooded(parts, rails))


def observe_kinds(observations: Sequence[Observation], rails: Rails) -> tuple[Observation, ...]:
    """For each kind, the part that stands for all of it: sick if too many are."""
    return tuple(_whole(kind, parts, rails) for kind, parts in sorted(_by_kind(observations).items()))


def _by_kind(observations: Sequence[Observation]) -> dict[SubjectKind, list[Observation]]:
    found: defaultdict[SubjectKind, list[Observation]] = defaultdict(list)
    for each in observations:
        if each.subject.name != EVERY:
            found[each.subject.kind].append(each)
    return dict(found)


def _is_flooded(parts: Sequence[Observation], rails: Rails, *, with_healing: bool = True) -> bool:
    """Whether too many are sick; parts that an operation is changing, or people have taken out, do not count.

    Args:
        with_healing: those that somebody else is healing count.
    """

    def is_sick(part: Observation) -> bool:
        is_theirs = part.is_changing or part.taken_out_by not in (None, "reconciler")
        return part.verdict == "bad" and not is_theirs and (with_healing or not part.is_healing)

    sick = sum(map(is_sick, parts))
    if sick >= rails.sick_least and sick > rails.sick_share * _count_known(parts):
        return True
    groups: defaultdict[str, list[bool]] = defaultdict(list)
    for each in parts:
        groups[each.subject.group].append(is_sick(each))
    return sum(len(each) > 1 and all(each) for each in groups.values()) >= rails.sick_groups


def _count_known(parts: Sequence[Observation]) -> int:
    return sum(each.verdict != "unknown" for each in parts)


def _whole(kind: SubjectKind, parts: Sequence[Observation], rails: Rails) -> Observation:
    is_flooded = _is_flooded(parts, rails)
    sick = sum(each.verdict == "bad" for each in parts)
    detail = f"{sick} of {_count_known(parts)} known are sick"
    return Observation(
        subject=Subject(kind=kind, name=EVERY, group=EVERY),
        evidence=(Evidence(witness="all", verdict="bad" if is_flooded else "ok", detail=detail),),
        witnesses=1,
        is_healing=is_flooded and not _is_flooded(parts, rails, with_healing=False),
    )
