"""The blinding check at the end of an annotator's judging. As blind as the rating page, after closing too (C6)."""

import uuid

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.errors import UserError
from accounts.http import HttpRequest
from annotations import access, guessing
from annotations.assignment import next_assignment
from annotations.outputs import outputs_of
from annotations.sources import source_of


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
        "texts": outputs_of(asked.assignment) if asked else [],
        "source": source_of(asked.assignment.item.case, campaign.study) if asked else [],
    }
    return render(request, "annotations/guess.html", context, status=422 if refused else 200)
