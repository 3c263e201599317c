"""The rating page and what hangs on it. Nothing here may tell which model wrote what (C6)."""

import uuid
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts.errors import UserError
from accounts.http import HttpRequest
from annotations import access, forms_judging, guessing, judging
from annotations.assignment import next_assignment
from annotations.forms_judging import Sheet
from annotations.models import Assignment, Campaign, Case, Completion, Revision, Study
from annotations.progress import progress_of
from annotations.rendering import markdown

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
    return _item(request, assignment, forms_judging.sheet_for(assignment), campaign=campaign)


def _submit(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    assignment = access.assignment_to_judge(request.user, public_id, request.POST.get("assignment", ""))
    campaign = assignment.item.campaign
    draft = forms_judging.read_draft(request.POST, campaign.kind, campaign.rubric)
    answer = forms_judging.read_answer(draft, campaign.kind, assignment.a_is_left)
    seconds = forms_judging.read_seconds(request.POST)
    if missing := judging.problems(answer, campaign.kind, campaign.rubric):
        if not judging.too_long(draft["reason"]):
            judging.save_draft(assignment, draft, active_seconds=seconds)
        return _item(request, assignment, Sheet(campaign.kind, campaign.rubric, draft, missing), status=422)
    try:
        judging.submit(assignment, answer, actor=request.user, active_seconds=seconds)
    except UserError as error:
        judging.save_draft(assignment, draft, active_seconds=seconds)
        sheet = Sheet(campaign.kind, campaign.rubric, draft)
        return _item(request, assignment, sheet, status=409, refused=error.message)
    return _back(public_id, saved=assignment.pk)


def _back(public_id: uuid.UUID, **query: Any) -> HttpResponseRedirect:
    return redirect(f"{reverse('annotations:judge', args=[public_id])}?{urlencode(query)}")


def _item(
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
    context = {
        "campaign": campaign,
        "study": campaign.study,
        "assignment": assignment,
        "outputs": _outputs(assignment),
        "source": _source(assignment.item.case, campaign.study),
        "reference": _reference(assignment.item.case) if campaign.rubric["show_reference"] else [],
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
    return render(request, template, context, status=status)


def _saved(request: HttpRequest) -> str:
    """The assignment just submitted, for the undo button; anything but an id is ignored."""
    try:
        return str(uuid.UUID(request.GET.get("saved", "")))
    except ValueError:
        return ""


def _outputs(assignment: Assignment) -> list[dict[str, Any]]:
    """The texts to judge from left to right, and nothing else of them."""
    item = assignment.item
    shown: list[Completion | None] = [item.completion_a, item.completion_b]
    if assignment.a_is_left is False:
        shown.reverse()
    pair = item.completion_b is not None
    texts = [completion.text for completion in shown if completion is not None]
    return [
        {"name": f"Output {letter}" if pair else "Output", "html": markdown(text) if text.strip() else ""}
        for letter, text in zip("AB", texts, strict=False)
    ]


def _source(case: Case, study: Study) -> list[tuple[str, str]]:
    """What the models were given: (title, text) of each field, in the template's order; one alone needs no title."""
    template = study.user_template

    def place(name: str) -> int:
        found = template.find(f"{{{name}}}")
        return len(template) if found < 0 else found

    names = sorted(case.inputs, key=place)
    fields = [(name.replace("_", " ").capitalize(), str(case.inputs[name])) for name in names]
    return [("", fields[0][1])] if len(fields) == 1 else fields


def _reference(case: Case) -> list[str]:
    """The reference answer as lines: a text and its rationale as they are, labels with their field's name."""
    texts = [str(case.reference[name]) for name in ("text", "rationale") if case.reference.get(name)]
    return texts + [f"{name}: {value}" for name, value in case.reference.items() if name not in ("text", "rationale")]


def _nothing_left(request: HttpRequest, campaign: Campaign) -> HttpResponse:
    mine = Assignment.objects.filter(item__campaign=campaign, annotator=request.user, submitted_at__isnull=True)
    context = {
        "campaign": campaign,
        "study": campaign.study,
        "progress": progress_of(campaign, request.user),
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
    campaign = assignment.item.campaign
    fields = forms_judging.read_draft(request.POST, campaign.kind, campaign.rubric)
    if judging.too_long(fields["reason"]):
        return HttpResponse(status=422)
    kept = judging.save_draft(assignment, fields, active_seconds=forms_judging.read_seconds(request.POST))
    return HttpResponse(status=204 if kept else 409)


@require_POST
def skip(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    assignment = access.assignment_to_judge(request.user, public_id, request.POST.get("assignment", ""))
    campaign = assignment.item.campaign
    fields = forms_judging.read_draft(request.POST, campaign.kind, campaign.rubric)
    if found := judging.too_long(fields["reason"]):
        return _item(request, assignment, Sheet(campaign.kind, campaign.rubric, fields, found), status=422)
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
def history(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """One's own judgements, the newest first."""
    campaign = access.campaign_to_judge(request.user, public_id)
    rows = (
        Revision.objects.filter(judgement__item__campaign=campaign, judgement__annotator=request.user, is_current=True)
        .exclude(outcome=Revision.Outcome.WITHDRAWN)
        .select_related("judgement__assignment", "judgement__item__case")
        .order_by("-judgement__assignment__submitted_at")
    )
    lines = [
        {"revision": row, "assignment": row.judgement.assignment, "answer": _told(row, campaign), "case": _excerpt(row)}
        for row in rows
    ]
    return render(request, "annotations/history.html", {"campaign": campaign, "study": campaign.study, "lines": lines})


def _excerpt(revision: Revision) -> str:
    return " ".join(str(text) for text in revision.judgement.item.case.inputs.values())[:160]


def _told(revision: Revision, campaign: Campaign) -> list[str]:
    """A revision in the words of the page, sides as they were shown."""
    if revision.outcome in judging.PREFERENCES:
        side = judging.to_side(revision.outcome, revision.judgement.assignment.a_is_left)
        return [f"{'A' if side == 'left' else 'B'} {revision.strength} better"]
    if revision.outcome == Revision.Outcome.CANNOT_JUDGE:
        return [f"Cannot judge: {revision.get_cannot_judge_display().lower()}"]
    if revision.outcome != Revision.Outcome.JUDGED:
        return [revision.get_outcome_display().capitalize()]
    sheet = Sheet(campaign.kind, campaign.rubric, judging.draft_of(revision, None))
    return [
        f"{question.title}: {option.value + ' – ' if question.is_scale else ''}{option.title}"
        for question in sheet.questions
        for option in question.options
        if option.checked
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
        return _item(request, assignment, sheet, **page)
    fields = forms_judging.read_draft(request.POST, campaign.kind, campaign.rubric)
    answer = forms_judging.read_answer(fields, campaign.kind, assignment.a_is_left)
    missing = judging.problems(answer, campaign.kind, campaign.rubric)
    if not change_reason:
        missing["change_reason"] = "Say why you are changing this judgement."
    sheet = Sheet(campaign.kind, campaign.rubric, fields, missing)
    if missing:
        return _item(request, assignment, sheet, status=422, **page)
    try:
        judging.revise(assignment.judgement, answer, change_reason=change_reason, actor=request.user)
    except UserError as error:
        return _item(request, assignment, sheet, status=409, refused=error.message, **page)
    return redirect("annotations:history", public_id=public_id)
