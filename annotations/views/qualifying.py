"""The pages of the training round: what was right after each item, and how it ended. As blind as the rating page."""

import uuid
from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import HttpResponseClientRedirect

from accounts.http import HttpRequest
from annotations import access, judging, qualifying
from annotations.forms_judging import CORRECTNESS
from annotations.models import Assignment, Campaign, Revision
from annotations.outputs import outputs_of
from annotations.qualifying import Judged, Standing
from annotations.rendering import markdown
from annotations.sources import reference_of, source_of

Outcome = Revision.Outcome
SAID = {
    Outcome.TIE: "Tie, both good",
    Outcome.BOTH_UNACCEPTABLE: "Both unacceptable",
    Outcome.CANNOT_JUDGE: "Cannot judge",
    Outcome.DEFECTIVE: "Defective item",
}


@require_GET
def feedback(request: HttpRequest, public_id: uuid.UUID, pk: uuid.UUID) -> HttpResponse:
    """One's own answer beside the known one. The rating page leads here after a training item."""
    if request.htmx:
        # A page of its own, not a part of the rating page: reloading it shows it again.
        return HttpResponseClientRedirect(request.path)
    assignment = access.assignment_to_judge(request.user, public_id, str(pk))
    campaign = assignment.item.campaign
    standing = _standing(request, campaign)
    row = next((row for row in standing.judged if row.assignment.pk == assignment.pk), None)
    if row is None:
        raise Http404
    context = {
        "line": _line(row, campaign),
        "feedback": markdown(str((assignment.item.gold or {}).get("feedback", ""))),
        "outputs": outputs_of(assignment),
        "source": source_of(assignment.item.case, campaign.study),
        "reference": reference_of(assignment.item.case) if campaign.rubric["show_reference"] else [],
    }
    return _render(request, "annotations/qualifying_feedback.html", campaign, standing, context)


@require_GET
def training(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """How the training round ended, or what is left of it."""
    if request.htmx:
        return HttpResponseClientRedirect(request.path)
    campaign = access.campaign_to_judge(request.user, public_id)
    mine = Assignment.objects.filter(item__campaign=campaign, item__training=True, annotator=request.user)
    skipped = mine.filter(submitted_at__isnull=True, skipped_at__isnull=False, released_at__isnull=True).count()
    return _render(request, "annotations/qualifying.html", campaign, _standing(request, campaign), {"skipped": skipped})


@require_POST
def again(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    campaign = access.campaign_to_judge(request.user, public_id)
    qualifying.repeat(campaign, request.user)
    return redirect("annotations:judge", public_id=public_id)


def _standing(request: HttpRequest, campaign: Campaign) -> Standing:
    """Raises Http404 where there is no training round."""
    standing = qualifying.standing(campaign, request.user)
    if standing is None:
        raise Http404
    return standing


def _render(
    request: HttpRequest, template: str, campaign: Campaign, standing: Standing, context: dict[str, Any]
) -> HttpResponse:
    missed = [_line(row, campaign) for row in standing.missed] if standing.is_whole else []
    frame = {"campaign": campaign, "study": campaign.study, "standing": standing, "missed": missed}
    return render(request, template, frame | context)


def _line(row: Judged, campaign: Campaign) -> dict[str, Any]:
    """A judged training item as it is shown: what was said, what is known."""
    known, a_is_left = row.assignment.item.gold or {}, row.assignment.a_is_left
    case = " ".join(str(text) for text in row.assignment.item.case.inputs.values())[:160]
    return {
        "assignment": row.assignment,
        "case": case,
        "right": row.right,
        "said": _in_words(row.said.outcome, row.said.strength, row.said.values, campaign, a_is_left),
        "known": _in_words(known["outcome"], known.get("strength", ""), known.get("values") or {}, campaign, a_is_left),
    }


def _in_words(
    outcome: str, strength: str, values: Mapping[str, Any], campaign: Campaign, a_is_left: bool | None
) -> list[str]:
    """An answer in the words of the rating page, sides as they were shown."""
    if outcome in judging.PREFERENCES:
        side = "A" if judging.to_side(outcome, a_is_left) == "left" else "B"
        return [f"{side} is {strength} better" if strength else f"{side} is better"]
    if outcome != Outcome.JUDGED:
        return [SAID[Outcome(outcome)]]
    # In the order of the rubric: PostgreSQL keeps the keys of a JSON object in an order of its own.
    return [
        f"{title}: {words.get(values[name], values[name])}"
        for name, (title, words) in _titles(campaign).items()
        if name in values
    ]


def _titles(campaign: Campaign) -> dict[str, tuple[str, dict[Any, str]]]:
    """{what is asked: (its title, {value: what it says})}, in the rubric's order."""
    rubric = campaign.rubric
    if campaign.kind == Campaign.Kind.LIKERT:
        return {
            c["name"]: (c["title"], {n: f"{n} – {anchor}" for n, anchor in enumerate(c["anchors"], start=1)})
            for c in rubric["criteria"]
        }
    if campaign.kind == Campaign.Kind.LABEL:
        return {
            f["name"]: (f["title"], {label["value"]: label["title"] for label in f["labels"]})
            for f in rubric["label_fields"]
        }
    return {"correctness": (str(CORRECTNESS["title"]), {value: title for value, title, _ in CORRECTNESS["options"]})}
