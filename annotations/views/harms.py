"""Harm reports: the annotator's form, and the leads' page."""

import uuid
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.errors import UserError
from accounts.http import HttpRequest
from annotations import access, harms, unblinding
from annotations.forms_harms import HarmForm, ResolutionForm
from annotations.models import Assignment, HarmReport, Study
from annotations.models.membership import Role

TOLD = "Your harm report is kept, and is on the page of the study's leads."


@require_http_methods(["GET", "POST"])
def harm_report(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """A report about an item that is one's own. For fetch: 201 kept, 200 kept already, 422 {"errors": {field: text}}.

    A browser without scripts gets pages instead.
    """
    given = request.POST if request.method == "POST" else request.GET
    assignment = access.assignment_to_judge(request.user, public_id, given.get("assignment", ""))
    if request.method == "GET":
        return _form(request, assignment, HarmForm(assignment, initial={"id": uuid.uuid4()}))
    form, created, page = HarmForm(assignment, request.POST), False, _wants_a_page(request)
    if form.is_valid():
        try:
            _, created = harms.report_harm(assignment=assignment, actor=request.user, **form.cleaned_data)
        except UserError as error:
            form.add_error(None, error.message)
    if not form.is_valid():
        return _form(request, assignment, form) if page else JsonResponse({"errors": form.by_field()}, status=422)
    if not page:
        return JsonResponse({}, status=201 if created else 200)
    messages.success(request, TOLD)
    is_open = assignment.item.campaign.is_open
    return redirect("annotations:judge" if is_open else "annotations:history", public_id=public_id)


def _wants_a_page(request: HttpRequest) -> bool:
    """A browser that goes to a page asks for HTML by name; a script's fetch doesn't."""
    return "text/html" in request.headers.get("Accept", "")


def _form(request: HttpRequest, assignment: Assignment, form: HarmForm) -> HttpResponse:
    campaign = assignment.item.campaign
    context = {"campaign": campaign, "study": campaign.study, "assignment": assignment, "form": form}
    return render(request, "annotations/harm_report.html", context, status=422 if form.errors else 200)


@require_GET
def harm(request: HttpRequest, slug: str) -> HttpResponse:
    """Every report of a study, for its leads."""
    return _page(request, access.study_for(request.user, slug, Role.LEAD), {})


def _page(request: HttpRequest, study: Study, failed: dict[uuid.UUID, ResolutionForm]) -> HttpResponse:
    pseudonyms = dict(study.memberships.values_list("user_id", "pseudonym"))
    lines = [
        _line(request, report, pseudonyms, failed.get(report.pk) or ResolutionForm(auto_id=f"{report.pk}-%s"))
        for report in harms.in_study(study)
    ]
    context = {"study": study, "tab": "harm", "lines": lines, "blinded": access.is_blinded(request.user, study)}
    return render(request, "annotations/harm.html", context, status=422 if failed else 200)


def _line(request: HttpRequest, report: HarmReport, pseudonyms: dict[int, str], form: ResolutionForm) -> dict[str, Any]:
    assignment = report.assignment
    campaign = assignment.item.campaign
    text = report.completion.text if report.completion else harms.texts(assignment)[harms.ABOUT_CASE]
    model = report.completion.model.name if report.completion else ""
    return {
        "report": report,
        "campaign": campaign,
        "case": assignment.item.case,
        "who": pseudonyms.get(report.reported_by_id, "a site admin"),
        "text": text,
        "passage": harms.passage(text, report.quote),
        "model": model if unblinding.arms_shown(request.user, campaign) else "",
        "not_mailed": harms.why_not_mailed(report),
        "form": form,
    }


@require_POST
def harm_acknowledge(request: HttpRequest, slug: str, pk: uuid.UUID) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    report = access.harm_report_for(request.user, study, pk)
    form = ResolutionForm(request.POST, auto_id=f"{pk}-%s")
    if form.is_valid():
        try:
            harms.acknowledge(report, actor=request.user, **form.cleaned_data)
        except UserError as error:
            form.add_error("resolution", error.message)
    if not form.is_valid():
        return _page(request, study, {pk: form})
    messages.success(request, "Acknowledged; what was done about it is kept with the report.")
    return redirect("annotations:harm", slug=slug)
