"""What a campaign's rule leaves open, and a lead's decision on it. A later decision replaces it; both are kept."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from accounts.errors import UserError
from accounts.models import User, audit
from annotations import access, consensus, judging, places
from annotations.models import Adjudication, Campaign, Item, Revision

Outcome = Revision.Outcome


@dataclass(frozen=True)
class Said:
    """One answer, as far as a rule asks: the outcome, and what it is about where the campaign asks for values."""

    outcome: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """An item whose judgements are all in: what its rule says of each question (None: left open)."""

    position: int
    agreed: Mapping[str, Any]
    decision: Adjudication | None = None

    @property
    def left_open(self) -> bool:
        return None in self.agreed.values()

    @property
    def waits(self) -> bool:
        """Open, and nobody has decided it."""
        return self.left_open and self.decision is None


def questions(campaign: Campaign) -> list[str]:
    """What there is to agree on: the outcome of a comparison, else each value that is asked for."""
    if campaign.kind == Campaign.Kind.COMPARISON:
        return ["outcome"]
    return list(judging.allowed_values(campaign.kind, campaign.rubric))


def agreed(campaign: Campaign, said: Sequence[Said]) -> dict[str, Any]:
    """{question: what its annotators agree on by the campaign's rule, or None}.

    Who can't judge says nothing (C11). That an item is defective is an answer to every question.
    """
    return {
        name: consensus.agreed(campaign.consensus, [_read(answer, name) for answer in said])
        for name in questions(campaign)
    }


def _read(answer: Said, question: str) -> Any:
    if answer.outcome == Outcome.CANNOT_JUDGE:
        return None
    return answer.values.get(question) if answer.outcome == Outcome.JUDGED else answer.outcome


def states(campaign: Campaign, *, positions: Iterable[int] | None = None) -> list[State]:
    """The items whose judgements are all in, in the campaign's order (three queries); none where no lead decides.

    Once a campaign is closed nothing more comes in, so that what an item has is all.
    """
    if not consensus.may_be_decided(campaign.kind, campaign.consensus):
        return []
    items = campaign.items.regular()
    if positions is not None:
        items = items.filter(position__in=list(positions))
    said: dict[int, list[Said]] = defaultdict(list)
    current = Revision.objects.filter(
        judgement__item__in=items,
        judgement__surplus=False,
        is_current=True,
        judgement__assignment__submitted_at__isnull=False,
    ).exclude(outcome=Outcome.WITHDRAWN)
    for item_id, outcome, values in current.values_list("judgement__item_id", "outcome", "values"):
        said[item_id].append(Said(outcome, values))
    decisions = {row.item_id: row for row in Adjudication.objects.filter(item__in=items, is_current=True)}
    return [
        State(position, agreed(campaign, said[pk]), decisions.get(pk))
        for pk, position, overlap in items.order_by("position").values_list("pk", "position", "overlap")
        if said[pk] and (len(said[pk]) >= overlap or not campaign.is_open)
    ]


def open_items(campaign: Campaign) -> list[int]:
    """Positions of the items that wait for a decision, in the campaign's order."""
    return [state.position for state in states(campaign) if state.waits]


@transaction.atomic
def adjudicate(item: Item, answer: judging.Answer, *, reason: str, actor: User) -> Adjudication:
    """Decide what the annotators left open. Works while the campaign is open and after it closed.

    Raises UserError where there is nothing to decide, the answer is not whole, or no reason is given; PermissionDenied
    for who is no lead, or judges in the campaign.
    """
    campaign = Campaign.objects.select_related("study").get(pk=item.campaign_id)
    access.require_adjudicator(actor, campaign)
    if connection.features.has_select_for_update:
        Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
    places.lock_items(campaign.items.filter(pk=item.pk))
    state = next(iter(states(campaign, positions=[item.position])), None)
    _check(campaign, state, answer, reason)
    item.adjudications.filter(is_current=True).update(is_current=False)
    chosen = {Outcome.PREFER_A: item.completion_a_id, Outcome.PREFER_B: item.completion_b_id}
    made = item.adjudications.create(
        outcome=answer.outcome,
        strength=answer.strength if answer.outcome in judging.PREFERENCES else "",
        chosen_id=chosen.get(Outcome(answer.outcome)),
        values=dict(answer.values) if answer.outcome == Outcome.JUDGED else {},
        reason=reason.strip(),
        decided_by=actor,
    )
    audit(actor, "adjudicate", campaign, item=item.position, adjudication=made.pk)
    return made


def _check(campaign: Campaign, state: State | None, answer: judging.Answer, reason: str) -> None:
    if not consensus.may_be_decided(campaign.kind, campaign.consensus):
        raise UserError(
            f"“{campaign}” leaves nothing for a lead to decide: its rule is “{campaign.get_consensus_display()}”."
        )
    if state is None:
        raise UserError("Not all judgements of this item are in, so there is nothing to decide yet.")
    if not state.left_open:
        raise UserError("The annotators agree on this item, and a lead's decision never overrides them.")
    if found := problems(answer, campaign, state):
        raise UserError("The decision is not complete.", [f"{name}: {what}" for name, what in found.items()])
    if not reason.strip():
        raise UserError("Say why you decide so; the reason is kept with the decision.")


def problems(answer: judging.Answer, campaign: Campaign, state: State) -> dict[str, str]:
    """What is missing or wrong. A decision is validated like an answer, but for what only an annotator is asked for."""
    rubric = campaign.rubric | {"reason": "optional"}
    if campaign.kind == Campaign.Kind.COMPARISON:
        rubric["criteria"] = []
    found = judging.problems(answer, campaign.kind, rubric)
    if answer.outcome == Outcome.CANNOT_JUDGE:
        found["choice"] = "Decide, or leave the item open: that you can't judge it is no decision."
    if answer.outcome == Outcome.JUDGED:
        for name, value in state.agreed.items():
            if value is not None and value != answer.values.get(name):
                found[name] = "Here the annotators agree, and a lead's decision never overrides them."
    return found
