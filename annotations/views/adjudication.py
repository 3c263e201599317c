"""What annotators leave open, one item at a time, blind to the models."""

import uuid
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from accounts.http import HttpRequest
from annotations import access, adjudicating, consensus, forms_judging, judging, opinions
from annotations.models import Campaign, Item, Study
from annotations.models.membership import Role
from annotations.sources import reference_of, source_of

FIELDS = ("choice", "strength", "reason")


def _campaign(request: HttpRequest, slug: str, public_id: uuid.UUID) -> tuple[Study, Campaign]:
    study = access.study_for(request.user, slug, Role.LEAD)
    campaign = access.campaign_for(request.user, study, public_id)
    access.require_adjudicator(request.user, campaign)
    return study, campaign


@require_GET
def first(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    """The first item that waits, or the list of those that are decided."""
    study, campaign = _campaign(request, slug, public_id)
    states = adjudicating.states(campaign)
    if waiting := [state.position for state in states if state.waits]:
        return redirect("annotations:adjudication_item", slug=slug, public_id=public_id, position=waiting[0])
    context = {
        "study": study,
        "tab": "campaigns",
        "campaign": campaign,
        "states": states,
        "decided": [state for state in states if state.left_open],
        "possible": consensus.may_be_decided(campaign.kind, campaign.consensus),
    }
    return render(request, "annotations/adjudication.html", context)


@require_http_methods(["GET", "POST"])
def item(request: HttpRequest, slug: str, public_id: uuid.UUID, position: int) -> HttpResponse:
    """GET: case, outputs and everyone's judgements. POST: decide, then on to the next."""
    study, campaign = _campaign(request, slug, public_id)
    row = access.item_for(request.user, campaign, position)
    states = adjudicating.states(campaign)
    state = next((state for state in states if state.position == position), None)
    if state is None or not state.left_open:
        raise Http404
    errors: dict[str, str] = {}
    if request.method == "POST":
        reason = forms_judging.read_text(request.POST, "reason")
        answer = read_decision(request.POST, row)
        errors = adjudicating.problems(answer, campaign, state)
        if not reason:
            errors["reason"] = "Say why you decide so; the reason is kept with the decision."
        if not errors:
            adjudicating.adjudicate(row, answer, reason=reason, actor=request.user)
            messages.success(request, f"Item {position + 1} is decided.")
            return redirect("annotations:adjudication", slug=slug, public_id=public_id)
    context = {"study": study, "tab": "campaigns", "campaign": campaign, "errors": errors}
    context |= _shown(row) | _asked(request, row, state, errors) | _neighbours(states, position)
    return render(request, "annotations/adjudication_item.html", context, status=422 if errors else 200)


def read_decision(post: Mapping[str, str], item: Item) -> judging.Answer:
    """What a form decided; the page's A and B become the item's fixed order here."""
    campaign, choice = item.campaign, post.get("choice", "")
    comparison = campaign.kind == Campaign.Kind.COMPARISON
    outcome = choice or ("" if comparison else judging.Outcome.JUDGED.value)
    if comparison and choice in ("left", "right"):
        outcome = judging.from_side(choice, opinions.a_is_first(item))
    values: dict[str, Any] = {}
    for name, allowed in judging.allowed_values(campaign.kind, campaign.rubric).items():
        by_text = {str(value): value for value in allowed}
        if not comparison and (given := post.get(f"value-{name}")) in by_text:
            values[name] = by_text[given]
    return judging.Answer(outcome, strength=post.get("strength", ""), values=values)


def _shown(row: Item) -> dict[str, Any]:
    campaign, a_first = row.campaign, opinions.a_is_first(row)
    outputs = [completion.text for completion in (row.completion_a, row.completion_b) if completion]
    return {
        "item": row,
        "fields": source_of(row.case, campaign.study),
        "outputs": outputs if a_first else outputs[::-1],
        "reference": reference_of(row.case) if campaign.rubric.get("show_reference") else [],
        "opinions": opinions.opinions(row),
        "earlier": row.adjudications.select_related("decided_by").order_by("-pk"),
    }


def _asked(request: HttpRequest, row: Item, state: adjudicating.State, errors: Mapping[str, str]) -> dict[str, Any]:
    """The form: each question with (value, title) where the annotators agree, what was posted, and what is wrong."""
    questions = []
    for question in opinions.questions(row.campaign):
        value = state.agreed.get(question.name)
        agreed = None if value is None else (value, question.say(value))
        posted = request.POST.get(f"value-{question.name}", "")
        questions.append((question, agreed, posted, errors.get(question.name, "")))
    return {
        "questions": questions,
        "comparison": row.campaign.kind == Campaign.Kind.COMPARISON,
        **{name: request.POST.get(name, "") for name in FIELDS},
    }


def _neighbours(states: list[adjudicating.State], position: int) -> dict[str, Any]:
    """How many wait, and the next of them after this one; the first again after the last."""
    waiting = [state.position for state in states if state.waits]
    others = [place for place in waiting if place != position]
    later = [place for place in others if place > position]
    return {"waiting": len(waiting), "following": next(iter(later or others), None)}
