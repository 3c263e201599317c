"""Designing a campaign: planning one, and changing its wording while it runs."""

import uuid
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from accounts.errors import UserError
from accounts.http import HttpRequest
from annotations import access, planning, rubrics
from annotations.forms_campaign import PlanForm, previewed, tried
from annotations.forms_data import show
from annotations.forms_rubric import RubricForm
from annotations.models.membership import Role
from annotations.rendering import markdown


@require_http_methods(["GET", "POST"])
def plan(request: HttpRequest, slug: str) -> HttpResponse:
    """Plan a campaign: “Preview” says what it would hold, “Start” makes it.

    Not for a lead who judges: the outputs of a campaign on one model alone would tell which are that model's.
    """
    study = access.study_for(request.user, slug, Role.LEAD)
    access.require_unblinded(request.user, study)
    form = PlanForm(request.POST or None, request.FILES or None, study=study)
    context: dict[str, Any] = {"study": study, "tab": "campaigns", "form": form}
    if request.method == "POST" and "start" in request.POST:
        campaign = tried(form, lambda **chosen: planning.plan_campaign(actor=request.user, **chosen))
        if campaign is not None:
            messages.success(request, f"“{campaign}” has begun: its annotators find it on their home page.")
            return redirect("annotations:campaign", slug=slug, public_id=campaign.public_id)
    elif request.method == "POST":
        context |= previewed(form)
    context["instructions"] = markdown(study.instructions)
    return render(request, "annotations/campaign_plan.html", context)


@require_GET
def rubric(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    """Every version of what a campaign's annotators were asked: who changed what, when and why."""
    study = access.study_for(request.user, slug, Role.LEAD)
    campaign = access.campaign_for(request.user, study, public_id)
    editions = rubrics.editions(campaign)
    context = {
        "study": study,
        "tab": "campaigns",
        "campaign": campaign,
        "editions": editions,
        "instructions": markdown(campaign.rubric["instructions"]),
    }
    return render(request, "annotations/rubric.html", context)


@require_http_methods(["GET", "POST"])
def rubric_change(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    campaign = access.campaign_for(request.user, study, public_id)
    form = RubricForm(request.POST or None, campaign=campaign)
    if request.method == "POST" and form.is_valid():
        try:
            version = rubrics.change_rubric(
                campaign, form.content(), reason=form.cleaned_data["why"], actor=request.user
            )
        except UserError as error:
            show(form, error)
        else:
            messages.success(request, f"Version {version.number} is what annotators see from now on.")
            return redirect("annotations:campaign_rubric", slug=slug, public_id=public_id)
    context = {"study": study, "tab": "campaigns", "campaign": campaign, "form": form}
    return render(request, "annotations/rubric_change.html", context)
