"""The blinding check at the end of an annotator's judging. As blind as the rating page, after closing too (C6)."""

import uuid
from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.errors import UserError
from accounts.http import HttpRequest
from annotations import access, guessing
from annotations.assignment import next_assignment
from annotations.models import Assignment, Campaign
from annotations.rendering import markdown


@require_http_methods(["GET", "POST"])
def guess(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """GET: the next guess, or thanks. POST: keep one, then back to GET. Whoever has still to judge is sent there."""
    campaign = access.campaign_to_judge(request.user, public_id)
    begun = campaign.guessing_begun_by(request.user.pk)
    if not begun and next_assignment(campaign, request.user) is not None:
        return redirect("annotations:judge", public_id=public_id)
    refused = ""
    if request.method == "POST":
        assignment = access.assignment_to_judge(request.user, public_id, request.POST.get("assignment", ""))
        try:
            guessing.keep(assignment, request.POST.get("guess", ""))
            return redirect("annotations:guess", public_id=public_id)
        except UserError as error:
            refused = error.message
    asked = guessing.next_guess(campaign, request.user)
    if asked is None and not begun:
        return redirect("annotations:judge", public_id=public_id)
    context = {
        "campaign": campaign,
        "study": campaign.study,
        "begun": begun,
        "asked": asked,
        "refused": refused,
        "texts": _texts(asked.assignment) if asked else [],
        "source": _source(asked.assignment, campaign) if asked else [],
    }
    return render(request, "annotations/guess.html", context, status=422 if refused else 200)


def _texts(assignment: Assignment) -> list[dict[str, Any]]:
    """The outputs from left to right, as they were shown when they were judged, and nothing else of them."""
    item = assignment.item
    shown = [item.completion_a, item.completion_b]
    if assignment.a_is_left is False:
        shown.reverse()
    pair = item.completion_b is not None
    texts = [completion.text for completion in shown if completion is not None]
    return [
        {"name": f"Output {letter}" if pair else "Output", "html": markdown(text) if text.strip() else ""}
        for letter, text in zip("AB", texts, strict=False)
    ]


def _source(assignment: Assignment, campaign: Campaign) -> list[tuple[str, str]]:
    """What the output was written from: (title, text) of each field, in the template's order."""
    inputs, template = assignment.item.case.inputs, campaign.study.user_template
    place = {name: template.find(f"{{{name}}}") for name in inputs}
    names = sorted(inputs, key=lambda name: (place[name] < 0, place[name]))
    return [(name.replace("_", " ").capitalize(), str(inputs[name])) for name in names]
