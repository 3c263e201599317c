"""What an annotator has said in a campaign: read again, and corrected with a reason. Nothing here unblinds (C6)."""

import uuid
from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.errors import UserError
from accounts.http import HttpRequest
from accounts.models import User
from annotations import access, forms_judging, judging
from annotations.forms_judging import Sheet
from annotations.models import Campaign, HarmReport, Revision
from annotations.views.judge import item_page, read_fields

SHOWN = {"": "All", "flagged": "Flagged", "changed": "Changed", "harm": "Harm reports"}


@require_http_methods(["GET"])
def history(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """One's own judgements, the newest first: all of them, or those that ``show`` asks for."""
    campaign = access.campaign_to_judge(request.user, public_id)
    show = request.GET.get("show", "") if request.GET.get("show", "") in SHOWN else ""
    rows = _own_revisions(campaign, request.user)
    harms = HarmReport.objects.filter(assignment__item__campaign=campaign, reported_by=request.user)
    by_judgement = harms.filter(assignment__judgement__isnull=False).values("assignment__judgement")
    kept = {
        "flagged": rows.filter(flagged=True),
        "changed": rows.filter(number__gt=1),
        "harm": rows.filter(judgement__in=by_judgement),
    }.get(show, rows)
    lines = [
        {"revision": row, "assignment": row.judgement.assignment, "answer": told(row, campaign), "case": _excerpt(row)}
        for row in kept
    ]
    context = {
        "campaign": campaign,
        "study": campaign.study,
        "lines": lines,
        "show": show,
        "shown": list(SHOWN.items()),
        "harms": harms if show in ("", "harm") else harms.none(),
    }
    return render(request, "annotations/history.html", context)


def _own_revisions(campaign: Campaign, annotator: User) -> QuerySet[Revision]:
    return (
        Revision.objects.filter(judgement__item__campaign=campaign, judgement__annotator=annotator, is_current=True)
        .exclude(outcome=Revision.Outcome.WITHDRAWN)
        .select_related("judgement__assignment", "judgement__item__case")
        .order_by("-judgement__assignment__submitted_at")
    )


def _excerpt(revision: Revision) -> str:
    return " ".join(str(text) for text in revision.judgement.item.case.inputs.values())[:160]


def told(revision: Revision, campaign: Campaign) -> list[str]:
    """A revision in the words of the page, sides as they were shown."""
    sheet = Sheet(campaign.kind, campaign.rubric, judging.draft_of(revision, revision.judgement.assignment.a_is_left))
    answered = [
        f"{question.title}: {option.value + ' – ' if question.is_scale and not sheet.is_pair else ''}{option.title}"
        for question in sheet.questions
        for option in question.options
        if option.checked
    ]
    return [*_outcome(revision), *answered, *_extras(revision)]


def _outcome(revision: Revision) -> list[str]:
    if revision.outcome in judging.PREFERENCES:
        side = judging.to_side(revision.outcome, revision.judgement.assignment.a_is_left)
        return [f"{'A' if side == 'left' else 'B'} {revision.strength} better"]
    if revision.outcome == Revision.Outcome.CANNOT_JUDGE:
        return [f"Cannot judge: {revision.get_cannot_judge_display().lower()}"]
    return [] if revision.outcome == Revision.Outcome.JUDGED else [revision.get_outcome_display().capitalize()]


def _extras(revision: Revision) -> list[str]:
    """What was said besides the answer."""
    marked = len(revision.marks)
    return [
        *([f"{marked} sentence{'s' if marked != 1 else ''} marked"] if marked else []),
        *(["Edited to the ideal"] if revision.ideal_id else []),
    ]


@require_http_methods(["GET", "POST"])
def revise(request: HttpRequest, public_id: uuid.UUID, pk: uuid.UUID) -> HttpResponse:
    """Correct one judgement on the page it was made on; the reason for the change is kept with it."""
    assignment = access.assignment_to_judge(request.user, public_id, str(pk))
    if assignment.submitted_at is None:
        raise Http404
    campaign, revision = assignment.item.campaign, judging.current(assignment.judgement)
    sheet = Sheet(campaign.kind, campaign.rubric, judging.draft_of(revision, assignment.a_is_left))
    change_reason = forms_judging.read_text(request.POST, "change_reason")
    page: dict[str, Any] = {"revising": True, "revision": revision, "change_reason": change_reason}
    if request.method == "GET":
        return item_page(request, assignment, sheet, **page)
    fields = read_fields(request, assignment)
    answer = forms_judging.read_answer(fields, campaign.kind, assignment.a_is_left)
    missing = judging.problems(answer, campaign.kind, campaign.rubric, assignment.item)
    if not change_reason:
        missing["change_reason"] = "Say why you are changing this judgement."
    sheet = Sheet(campaign.kind, campaign.rubric, fields, missing)
    if missing:
        return item_page(request, assignment, sheet, status=422, **page)
    try:
        seen = forms_judging.read_rubric(request.POST)
        judging.revise(assignment.judgement, answer, change_reason=change_reason, actor=request.user, rubric_seen=seen)
    except UserError as error:
        return item_page(request, assignment, sheet, status=409, refused=error.message, **page)
    return redirect("annotations:history", public_id=public_id)
