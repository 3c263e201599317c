"""How much each annotator will have to do, and whether the design's limits leave enough of them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accounts.models import User
from annotations.designs import PlanError
from annotations.models import Campaign, Case, Item, Membership

SECONDS_PER_JUDGEMENT = 45  # until a campaign's own times are known
TAG_LENGTH = 80


@dataclass(frozen=True)
class Load:
    """About what one annotator will judge. Others may be quicker and take more, so it is no promise."""

    annotator: User
    regular: int
    gold: int
    repeats: int
    training: int

    @property
    def items(self) -> int:
        return self.regular + self.gold + self.repeats + self.training

    @property
    def minutes(self) -> int:
        return minutes(self.items, 1)


def minutes(items: int, overlap: int, seconds: float = SECONDS_PER_JUDGEMENT) -> int:
    """Clinicians' time for so many items, all of them together."""
    return max(1, round(items * overlap * seconds / 60))


def tag_of(case: Case, route_by: str) -> str:
    """The specialty a case asks for, in lower case as specialties are; empty: any."""
    value = case.metadata.get(route_by) if route_by else None
    return "" if value is None else str(value).strip().lower()


def check_routing(campaign: Campaign, cases: Mapping[int, Case], items: Sequence[Item], people: Sequence[User]) -> None:
    """Raise PlanError where an item's tag is the specialty of fewer annotators than its overlap, or nothing has one."""
    if not campaign.route_by:
        return
    route_by = campaign.route_by
    if not any(item.tag for item in items):
        known = sorted({name for case in cases.values() for name in case.metadata})
        raise PlanError(
            "route_by",
            f"No case has anything under “{route_by}” in its metadata, so there is nothing to route by. "
            f"Columns: {', '.join(known) or 'none'}.",
        )
    if long := sorted({item.tag for item in items if len(item.tag) > TAG_LENGTH}):
        raise PlanError("route_by", f"“{route_by}” holds texts, not specialties, for example “{long[0][:40]}…”.")
    able = specialists(campaign, people)
    wanted: dict[str, int] = defaultdict(int)
    for item in items:
        wanted[item.tag] = max(wanted[item.tag], item.overlap)
    counts = Counter(item.tag for item in items)
    lacking = [
        f"{tag}: {counts[tag]} item{'s' if counts[tag] != 1 else ''}, {len(able.get(tag, []))} annotator(s), "
        f"and each is judged by {need}"
        for tag, need in sorted(wanted.items())
        if tag and len(able.get(tag, [])) < need
    ]
    if lacking:
        raise PlanError(
            "route_by",
            f"There are too few annotators with the specialties that “{route_by}” asks for. Add such annotators, note "
            "their specialties on the People page, or lower the overlap.",
            lacking,
        )


def specialists(campaign: Campaign, people: Sequence[User]) -> dict[str, list[User]]:
    """{tag: annotators with that specialty}."""
    rows = Membership.objects.filter(study=campaign.study, user__in=people).select_related("user").order_by("user__pk")
    able: dict[str, list[User]] = defaultdict(list)
    for row in rows:
        for specialty in row.specialties:
            able[specialty].append(row.user)
    return dict(able)


def loads(
    campaign: Campaign,
    people: Sequence[User],
    *,
    regular: Sequence[Item],
    repeats: Sequence[Item],
    gold: int,
    training: int,
) -> list[Load]:
    """What each annotator will do if all work equally fast: items go to whoever may judge them and has the least."""
    able = specialists(campaign, people) if campaign.route_by else {}
    given = dict.fromkeys((person.pk for person in people), 0)
    again = dict.fromkeys(given, 0)
    repeated = {id(repeat.repeat_of) for repeat in repeats}  # unsaved rows have no key
    # Those that few may judge come first, so that what everybody may judge evens the loads out.
    for item in sorted(regular, key=lambda item: len(able.get(item.tag, people))):
        may = [person.pk for person in (able.get(item.tag, []) if item.tag else people)]
        for pk in sorted(may, key=lambda pk: (given[pk], again[pk]))[: item.overlap]:
            given[pk] += 1
            again[pk] += id(item) in repeated
    return [
        Load(person, regular=given[person.pk], gold=gold, repeats=again[person.pk], training=training)
        for person in people
    ]


def check_capacity(
    campaign: Campaign, people: Sequence[User], *, regular: Sequence[Item], repeats: Sequence[Item], gold: int
) -> None:
    """Raise PlanError where the most items per annotator, all taken together, are fewer than the judgements wanted.

    Gold items and repeats count, training items don't.
    """
    most = campaign.max_per_annotator
    if most is None:
        return
    judgements = sum(item.overlap for item in regular)
    again = sum(item.repeat_of.overlap for item in repeats if item.repeat_of is not None)
    wanted = judgements + again + gold * len(people)
    if wanted > most * len(people):
        raise PlanError(
            "max_per_annotator",
            f"{len(people)} annotators with at most {most} items each make {most * len(people)} judgements, and "
            f"{wanted} are wanted: {judgements} of items, {again} of hidden repeats, {gold * len(people)} of gold "
            f"items. Allow {-(-wanted // len(people))} each, add annotators, or lower the overlap.",
        )
    for tag, able in specialists(campaign, people).items() if campaign.route_by else ():
        # What a tag's specialists must do, without what others can do as well.
        needed = sum(item.overlap for item in regular if item.tag == tag) + gold * len(able)
        needed += sum(item.repeat_of.overlap for item in repeats if item.repeat_of and item.tag == tag)
        if needed > most * len(able):
            raise PlanError(
                "max_per_annotator",
                f"{needed} judgements need somebody of “{tag}”, and {len(able)} such annotators with at most {most} "
                f"items each make {most * len(able)}. Allow {-(-needed // len(able))} each, or add annotators.",
            )
