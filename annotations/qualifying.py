"""The training round: items with known answers, judged first and with feedback, until enough of them are right.

What counts is the first answer of a round. The known answer is shown right after it, so a correction proves nothing.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from django.db import connection, transaction
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import User, audit
from annotations.gold import is_right
from annotations.models import Assignment, Campaign, Judgement, Participation, Revision

Outcome = Revision.Outcome
REPEATED = "training repeated"  # the change reason that ends a round


@dataclass(frozen=True)
class Judged:
    """A training item that the annotator has judged in this round: what they said first, and whether it is right."""

    assignment: Assignment
    said: Revision
    right: bool


@dataclass(frozen=True)
class Standing:
    """How far one annotator's training is."""

    total: int
    judged: list[Judged]
    pass_mark: float
    round: int
    passed_at: datetime | None

    @property
    def right(self) -> int:
        return sum(row.right for row in self.judged)

    @property
    def missed(self) -> list[Judged]:
        return [row for row in self.judged if not row.right]

    @property
    def needed(self) -> int:
        """How many must be right. Rounded first: 0.7 × 10 is a little more than 7 in binary."""
        return ceil(round(self.pass_mark * self.total, 9))

    @property
    def is_whole(self) -> bool:
        return len(self.judged) >= self.total

    @property
    def passed(self) -> bool:
        return self.passed_at is not None or (self.is_whole and self.right >= self.needed)

    @property
    def failed(self) -> bool:
        return self.is_whole and not self.passed


def standing(campaign: Campaign, annotator: User) -> Standing | None:
    """Where the annotator stands; None where the campaign has no training round, or they take no part in it."""
    part = campaign.participations.filter(user=annotator).first() if campaign.training_pass_mark is not None else None
    if part is None:
        return None
    part.campaign = campaign
    found = _standing(part)
    return found if found.total else None


def _standing(part: Participation) -> Standing:
    """Two queries, and two more where something was judged."""
    campaign = part.campaign
    assert campaign.training_pass_mark is not None
    assignments = {
        row.item_id: row
        for row in Assignment.objects.filter(
            item__campaign=campaign, item__training=True, annotator=part.user_id
        ).select_related("item__case")
    }
    # What a lead took back is not asked for.
    asked = [
        pk
        for pk in campaign.items.filter(training=True).values_list("pk", flat=True)
        if pk not in assignments or assignments[pk].submitted_at or not assignments[pk].released_at
    ]
    judged = [assignments[pk] for pk in asked if pk in assignments and assignments[pk].submitted_at]
    said = _said_first(judged)
    rows = [Judged(row, said[row.pk], is_right(said[row.pk], row.item.gold, campaign.kind)) for row in judged]
    rows.sort(key=lambda row: row.assignment.created_at)
    return Standing(
        total=len(asked),
        judged=rows,
        pass_mark=campaign.training_pass_mark,
        round=part.training_round,
        passed_at=part.training_passed_at,
    )


def _said_first(assignments: Iterable[Assignment]) -> dict[object, Revision]:
    """{assignment: the first answer of this round}."""
    history: dict[object, list[Revision]] = defaultdict(list)
    rows = Revision.objects.filter(judgement__assignment__in=assignments).select_related("judgement")
    for revision in rows.order_by("number"):
        if revision.outcome != Outcome.WITHDRAWN:
            history[revision.judgement.assignment_id].append(revision)
        elif revision.change_reason == REPEATED:
            history[revision.judgement.assignment_id].clear()
    return {pk: revisions[0] for pk, revisions in history.items() if revisions}


def before_judging(part: Participation) -> bool:
    """Whether the annotator may judge the campaign's items: there is no training round, or they have passed it.

    Called while an item is claimed, so that here, and in no page that is only read, the pass is recorded.
    """
    if part.campaign.training_pass_mark is None or part.training_passed_at is not None:
        return True
    now = _standing(part)
    if now.total and now.passed:
        part.training_passed_at = timezone.now()
        part.save(update_fields=["training_passed_at"])
        audit(part.user, "pass training", part, campaign=part.campaign_id, right=now.right, of=now.total)
    return now.passed


@transaction.atomic
def repeat(campaign: Campaign, annotator: User) -> Participation:
    """Begin the training again: the answers are withdrawn and stay in the record, and the items come without drafts."""
    if connection.features.has_select_for_update:
        # First, as in every act on answers: nothing changes once the campaign is closed, nor twice at a time.
        Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
    campaign = Campaign.objects.get(pk=campaign.pk)
    if not campaign.is_open:
        raise UserError("This campaign has been closed, so its training can no longer be repeated.")
    parts = campaign.participations.select_related("campaign", "user").filter(user=annotator)
    if connection.features.has_select_for_update:
        parts = parts.select_for_update(of=("self",))
    part = parts.get()
    if campaign.training_pass_mark is None or not (now := _standing(part)).failed:
        raise UserError("The training can be repeated once every item of it is judged and too few answers are right.")
    for row in now.judged:
        _withdraw(row.assignment.judgement, annotator)
    Assignment.objects.filter(pk__in=[row.assignment.pk for row in now.judged]).update(
        submitted_at=None, skipped_at=None, skip_reason="", draft=None, lease_expires_at=timezone.now()
    )
    part.training_round += 1
    part.save(update_fields=["training_round"])
    audit(annotator, "repeat training", part, campaign=campaign.pk, right=now.right, of=now.total)
    return part


def _withdraw(judgement: Judgement, annotator: User) -> None:
    last = judgement.revisions.get(is_current=True)
    judgement.revisions.filter(pk=last.pk).update(is_current=False)
    judgement.revisions.create(
        number=last.number + 1,
        outcome=Outcome.WITHDRAWN,
        change_reason=REPEATED,
        rubric_version=last.rubric_version,
        created_by=annotator,
    )
