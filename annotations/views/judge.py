"""The rating page and what hangs on it. Nothing here may tell which model wrote what (C6)."""

import json
import uuid
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from accounts.errors import UserError
from accounts.http import HttpRequest
from annotations import access, forms_judging, guessing, judging, keys, layout
from annotations.assignment import next_assignment
from annotations.forms_judging import MARKS, Sheet
from annotations.models import Assignment, Campaign, HarmReport
from annotations.outputs import outputs_of, shown_texts
from annotations.progress import progress_of
from annotations.rendering import markdown
from annotations.sources import reference_of, source_of

NOTES = {
    "undone": "Undone. Your answer is below as you left it; submit again when it is right.",
    "skipped": "Skipped. The item is put aside, and you can take it up again at the end.",
    "nothing": "Nothing to undo: the item is open.",
}


@require_http_methods(["GET", "POST"])
def judge(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """GET: the item at hand, or the next one. POST: submit, then back to GET (htmx follows and swaps)."""
    if request.method == "POST":
        return _submit(request, public_id)
    campaign = access.campaign_to_judge(request.user, public_id)
    assignment = next_assignment(campaign, request.user)
    if assignment is None:
        return _nothing_left(request, campaign)
    return item_page(request, assignment, forms_judging.sheet_for(assignment), campaign=campaign)


def _submit(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    assignment = access.assignment_to_judge(request.user, public_id, request.POST.get("assignment", ""))
    campaign = assignment.item.campaign
    draft = read_fields(request, assignment)
    answer = forms_judging.read_answer(draft, campaign.kind, assignment.a_is_left)
    seconds = forms_judging.read_seconds(request.POST)
    if missing := judging.problems(answer, campaign.kind, campaign.rubric, assignment.item):
        if not judging.too_long(draft["reason"]):
            judging.save_draft(assignment, draft, active_seconds=seconds)
        return item_page(request, assignment, Sheet(campaign.kind, campaign.rubric, draft, missing), status=422)
    try:
        seen = forms_judging.read_rubric(request.POST)
        judging.submit(assignment, answer, actor=request.user, active_seconds=seconds, rubric_seen=seen)
    except UserError as error:
        judging.save_draft(assignment, draft, active_seconds=seconds)
        sheet = Sheet(campaign.kind, campaign.rubric, draft)
        return item_page(request, assignment, sheet, status=409, refused=error.message)
    if assignment.item.training:
        feedback = reverse("annotations:judge_feedback", args=[public_id, assignment.pk])
        # A page of its own, not a part of this one.
        return HttpResponseClientRedirect(feedback) if request.htmx else redirect(feedback)
    return _back(public_id, saved=assignment.pk)


def read_fields(request: HttpRequest, assignment: Assignment) -> dict[str, Any]:
    """What was posted for an assignment, as the fields of its page."""
    campaign = assignment.item.campaign
    fields = forms_judging.read_draft(request.POST, campaign.kind, campaign.rubric)
    return forms_judging.without_unchanged_ideal(fields, shown_texts(assignment))


def _back(public_id: uuid.UUID, **query: Any) -> HttpResponseRedirect:
    return redirect(f"{reverse('annotations:judge', args=[public_id])}?{urlencode(query)}")


def item_page(
    request: HttpRequest,
    assignment: Assignment,
    sheet: Sheet,
    *,
    campaign: Campaign | None = None,
    status: int = 200,
    **extra: Any,
) -> HttpResponse:
    """The rating page of one assignment: whole, or for htmx the part that changes."""
    campaign = campaign or assignment.item.campaign
    sheet.labels = keys.labels(keys.keys_of(request.user.shortcuts))
    context = {
        "campaign": campaign,
        "study": campaign.study,
        "assignment": assignment,
        "outputs": outputs_of(assignment, sheet),
        "marks": MARKS,
        "severities": HarmReport.Severity.choices,
        "source": source_of(assignment.item.case, campaign.study),
        "reference": reference_of(assignment.item.case) if campaign.rubric["show_reference"] else [],
        "instructions": markdown(campaign.rubric["instructions"]),
        "sheet": sheet,
        "progress": progress_of(campaign, request.user),
        "saved": _saved(request),
        "note": NOTES.get(request.GET.get("note", ""), ""),
        **extra,
    }
    return _render(request, context, status)


def _render(request: HttpRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    template = "annotations/_item.html" if request.htmx else "annotations/judge.html"
    return render(request, template, context | _screen(request, context["campaign"]), status=status)


def _screen(request: HttpRequest, campaign: Campaign) -> dict[str, Any]:
    """The page as this person wants it. The script reads it from the page: no request, and no script within it."""
    shortcuts = request.user.shortcuts
    mine = keys.keys_of(shortcuts)
    of_use = [action for action in keys.ACTIONS if campaign.kind == Campaign.Kind.COMPARISON or not action.of_pairs]
    return {
        "keys": keys.labels(mine),
        "key_list": [(keys.label(mine[action.name]), action) for action in of_use],
        "key_map": json.dumps(mine),
        "layout": layout.layout_of(shortcuts),
    }


def _saved(request: HttpRequest) -> str:
    """The assignment just submitted, for the undo button; anything but an id is ignored."""
    try:
        return str(uuid.UUID(request.GET.get("saved", "")))
    except ValueError:
        return ""


def _nothing_left(request: HttpRequest, campaign: Campaign) -> HttpResponse:
    progress = progress_of(campaign, request.user)
    if progress.training and campaign.is_open:
        return redirect("annotations:judge_training", public_id=campaign.public_id)
    mine = Assignment.objects.filter(item__campaign=campaign, annotator=request.user, submitted_at__isnull=True)
    context = {
        "campaign": campaign,
        "study": campaign.study,
        "progress": progress,
        "skipped": mine.filter(skipped_at__isnull=False).count(),
        "saved": _saved(request) if campaign.is_open else "",
        "guesses_pending": guessing.pending(campaign, request.user),
        "guessing_begun": campaign.guessing_begun_by(request.user.pk),
        "note": NOTES.get(request.GET.get("note", ""), ""),
    }
    return _render(request, context)


@require_POST
def draft(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """Autosave. 204: kept; 409: the item is submitted, so there is nothing to keep; 422: the reason is too long."""
    assignment = access.assignment_to_judge(request.user, public_id, request.POST.get("assignment", ""))
    fields = read_fields(request, assignment)
    if judging.too_long(fields["reason"]):
        return HttpResponse(status=422)
    kept = judging.save_draft(assignment, fields, active_seconds=forms_judging.read_seconds(request.POST))
    return HttpResponse(status=204 if kept else 409)


@require_POST
def skip(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    assignment = access.assignment_to_judge(request.user, public_id, request.POST.get("assignment", ""))
    campaign = assignment.item.campaign
    fields = read_fields(request, assignment)
    if found := judging.too_long(fields["reason"]):
        return item_page(request, assignment, Sheet(campaign.kind, campaign.rubric, fields, found), status=422)
    judging.save_draft(assignment, fields, active_seconds=forms_judging.read_seconds(request.POST))
    judging.skip(assignment, reason=forms_judging.read_text(request.POST, "skip_reason"))
    return _back(public_id, note="skipped")


@require_POST
def again(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """Take the skipped items up again."""
    campaign = access.campaign_to_judge(request.user, public_id)
    judging.take_up_skipped(campaign, request.user)
    return redirect("annotations:judge", public_id=public_id)


@require_POST
def undo(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    assignment = access.assignment_to_judge(request.user, public_id, request.POST.get("assignment", ""))
    if assignment.submitted_at is None:
        return _back(public_id, note="nothing")
    judging.undo(assignment.judgement, actor=request.user)
    return _back(public_id, note="undone")


@require_http_methods(["GET"])
def me(request: HttpRequest) -> HttpResponse:
    """Who is signed in: a page that was left open asks before it sends what its own person typed."""
    return JsonResponse({"user": str(request.user.pk)})
