"""The blinding check: once their judging is finished, annotators guess which arm wrote what they judged.

Guesses come after the annotator's own last judgement and end their part in the campaign: from the first guess on they
are given no more items, and can neither correct nor undo what they judged. Thinking about the arms could colour what
comes after it, so nothing may come after it; and a guess made half-way would be about fewer outputs than were judged.
The check comes before anybody knows results, or else it measures whether the better arm was taken for the new one
(Bang, Ni & Davis 2004; CONSORT dropped the item in 2010 for that reason): hence at the annotator's own end rather than
the study's, and the report says that it was so. Whoever may have looked at the models by then (a lead or viewer after
closing, or after an unblinding) is not asked: that would be no guess.

Asked are regular items they judged; what they called defective is left out. A page names an arm by the neutral wording
that was chosen at planning, never by its model (C6).
"""

from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import User
from annotations import campaigning
from annotations.models import Assignment, Campaign, Completion, Guess, Model, Revision

DONT_KNOW = "unknown"
SIDES = (("left", "A"), ("right", "B"))


@dataclass(frozen=True)
class Question:
    """One guess to be made. ``wanted`` is the wording of the arm looked for in a pair; empty for a single output."""

    assignment: Assignment
    number: int
    total: int
    wanted: str
    options: list[tuple[str, str]]  # (what a form sends, what is shown); “don't know” is the last


def pending(campaign: Campaign, user: User) -> bool:
    """Whether the annotator still has guesses to make, once nothing is left for them to judge."""
    return next_guess(campaign, user) is not None


def next_guess(campaign: Campaign, user: User) -> Question | None:
    """The next guess this annotator is asked for; None where none is left, or none was ever asked."""
    rows = drawn(campaign, user)
    waiting = [row for row in rows if not hasattr(row, "guess")]
    if not waiting:
        return None
    return question(waiting[0], number=len(rows) - len(waiting) + 1, total=len(rows))


def drawn(campaign: Campaign, user: User) -> list[Assignment]:
    """What the annotator is asked about, in the order of asking: drawn from the campaign's seed and secret."""
    wanted = int(campaign.blinding_check.get("items", 0))
    if not wanted or len(wordings(campaign)) < 2 or not _stays_blind(campaign, user):
        return []
    rows = [row for row in _judged(campaign, user) if _can_be_asked(row, campaign)]
    return sorted(rows, key=lambda row: campaign.draw("guess", user.pk, row.item_id))[:wanted]


def wordings(campaign: Campaign) -> dict[int, str]:
    """{model id: the neutral words for its arm}, in the order of the words, which says nothing about any output."""
    arms = {int(pk): str(words) for pk, words in campaign.blinding_check.get("arms", {}).items()}
    return dict(sorted(arms.items(), key=lambda arm: arm[1].casefold()))


def _stays_blind(campaign: Campaign, user: User) -> bool:
    """Whether the annotator can't have seen which model wrote what."""
    if campaign.unblindings.filter(user=user).exists():
        return False
    return campaign.is_open or user not in campaigning.unblinded_by_closing(campaign)


def _judged(campaign: Campaign, user: User) -> QuerySet[Assignment]:
    """The annotator's submitted regular items, without those they called defective."""
    defective = Revision.objects.filter(
        judgement__annotator=user, is_current=True, outcome=Revision.Outcome.DEFECTIVE
    ).values("judgement__assignment")
    return (
        Assignment.objects.filter(item__in=campaign.items.regular(), annotator=user, submitted_at__isnull=False)
        .exclude(pk__in=defective)
        .select_related("item__case", "item__completion_a", "item__completion_b", "guess")
    )


def _can_be_asked(assignment: Assignment, campaign: Campaign) -> bool:
    """One output of a named arm, or two of different ones (two samples of one model can't be told apart by arm)."""
    models = [row.model_id for row in _shown(assignment)]
    return bool(models) and len(set(models)) == len(models) and set(models) <= set(wordings(campaign))


def _shown(assignment: Assignment) -> list[Completion]:
    item = assignment.item
    return [row for row in (item.completion_a, item.completion_b) if row is not None]


def question(assignment: Assignment, *, number: int = 1, total: int = 1) -> Question:
    """What is asked about one assignment. In a pair, which of the two arms is looked for is drawn item by item."""
    campaign = assignment.item.campaign
    words = wordings(campaign)
    dont_know = (DONT_KNOW, "I don't know")
    if assignment.item.completion_b_id is None:
        options = [(str(place), text) for place, text in enumerate(words.values(), start=1)]
        return Question(assignment, number, total, "", [*options, dont_know])
    return Question(assignment, number, total, words[_asked_about(assignment).model_id], [*SIDES, dont_know])


def _asked_about(assignment: Assignment) -> Completion:
    """The output whose arm is guessed: a pair's is the one that the arm looked for wrote."""
    shown = _shown(assignment)
    if len(shown) == 1:
        return shown[0]
    draw = assignment.item.campaign.draw("guess arm", assignment.annotator_id, assignment.item_id)
    return shown[draw[0] % 2]


def _guessed(assignment: Assignment, said: str) -> int | None:
    """The model that an answer names: taking the other side for arm X takes the output of X for the other arm's."""
    if said == DONT_KNOW:
        return None
    shown = _shown(assignment)
    if len(shown) == 1:
        return list(wordings(assignment.item.campaign))[int(said) - 1]
    a, b = shown
    pointed_at = a if (said == "left") == (assignment.a_is_left is not False) else b
    looked_for, other = (a, b) if _asked_about(assignment) == a else (b, a)
    return looked_for.model_id if pointed_at == looked_for else other.model_id


@transaction.atomic
def keep(assignment: Assignment, said: str) -> Guess:
    """Keep one guess; the first answer stands, so that a double click is one guess.

    Raises UserError for an answer that is none, an item that isn't asked about, or judging that isn't finished.
    """
    campaign, user = assignment.item.campaign, assignment.annotator
    if connection.features.has_select_for_update:
        # The locks that a submit and a new claim take: no judgement comes in beside the first guess.
        Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
        campaign.participations.select_for_update().filter(user=user).first()
    asked = {row.pk: row for row in drawn(campaign, user)}
    if assignment.pk not in asked:
        raise UserError("The blinding check doesn't ask about this item.")
    row = asked[assignment.pk]
    row.item.campaign = campaign
    if hasattr(row, "guess"):
        return row.guess
    if said not in dict(question(row).options):
        raise UserError("Choose one of the answers; “I don't know” is one of them.")
    if _is_judging(campaign, user):
        raise UserError("There is still an item for you to judge in this campaign. Judge it first, then guess.")
    guessed = _guessed(row, said)
    return Guess.objects.create(
        assignment=row,
        completion=_asked_about(row),
        guessed=None if guessed is None else Model.objects.get(pk=guessed),
    )


def _is_judging(campaign: Campaign, user: User) -> bool:
    """Whether the annotator holds an item of an open campaign that they have still to judge."""
    if not campaign.is_open:
        return False
    return Assignment.objects.filter(
        item__campaign=campaign,
        annotator=user,
        submitted_at__isnull=True,
        skipped_at__isnull=True,
        released_at__isnull=True,
        lease_expires_at__gt=timezone.now(),
    ).exists()
