"""Starting and watching evaluations, and having their outputs judged blind."""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.errors import UserError
from accounts.http import HttpRequest
from annotations import doorbell, unblinding
from annotations.forms_campaign import previewed, tried
from annotations.models import Campaign, Status
from annotations.models.membership import Role
from annotations.planning import plan_campaign
from annotations.rendering import markdown
from reports import access, evaluation, preview
from reports.forms import BlindCampaignForm, EvaluationForm


@require_http_methods(["GET", "POST"])
def evaluation_new(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.results_study(request.user, slug, Role.LEAD)
    if study.analysis_locked_at is None:
        messages.info(request, "Lock the analysis plan first: evaluations start after what is primary is decided.")
        return redirect("reports:plan_lock", study.slug)
    form = EvaluationForm(study, request.POST if request.method == "POST" else None)
    details: list[str] = []
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            doorbell.require_worker("generation")
            made = evaluation.start(
                study=study,
                arms=data["arms"],
                split=data["split"],
                sampling={"max_tokens": data["max_tokens"]} if data["max_tokens"] else None,
                exclude_leaked=data["exclude_leaked"],
                override=data["override"],
                actor=request.user,
            )
            return redirect("reports:evaluation", study.slug, made.pk)
        except UserError as error:
            form.add_error(None, error.message)
            details = error.details
    context = {"study": study, "tab": "results", "form": form, "details": details}
    return render(request, "reports/evaluation_new.html", context)


@require_GET
def show(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The whole page, or for htmx only its progress; the progress of a finished evaluation asks for nothing more."""
    study = access.results_study(request.user, slug)
    row = access.evaluation_for(request.user, study, pk)
    context = {"study": study, "tab": "results", "evaluation": row, "progress": evaluation.progress_by_arm(row)}
    if request.htmx:
        response = render(request, "reports/_progress.html", context)
        if not row.is_active:
            response.headers["HX-Refresh"] = "true"  # the rest of the page has changed too
        return response
    hidden = unblinding.hidden_from(request.user, row.campaigns.order_by("name"))
    context |= {
        "lead": access.may_lead(request.user, study),
        "earlier": evaluation.earlier_evaluations(row),
        "preview": preview.arms(row, without=hidden) if row.status == Status.SUCCEEDED else [],
        "hidden": hidden,
        "can_retry": row.status in (Status.FAILED, Status.INTERRUPTED),
    }
    return render(request, "reports/evaluation.html", context)


@require_POST
def retry(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    study = access.results_study(request.user, slug, Role.LEAD)
    row = access.evaluation_for(request.user, study, pk)
    doorbell.require_worker("generation")
    evaluation.retry(row, request.user)
    return redirect("reports:evaluation", study.slug, row.pk)


@require_http_methods(["GET", "POST"])
def campaign(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Plan a blind campaign on the evaluation's outputs: evaluation is judging with more arms."""
    study = access.results_study(request.user, slug, Role.LEAD)
    row = access.evaluation_for(request.user, study, pk)
    form = BlindCampaignForm(request.POST or None, request.FILES or None, evaluation=row)
    context: dict[str, Any] = {"study": study, "tab": "results", "evaluation": row, "form": form}

    @transaction.atomic
    def start(**chosen: Any) -> Campaign:
        planned = plan_campaign(actor=request.user, **chosen)
        row.campaigns.add(planned)
        return planned

    if request.method == "POST" and "preview" in request.POST:
        context |= previewed(form)
    elif request.method == "POST":
        planned = tried(form, start)
        if planned is not None:
            messages.success(request, f"“{planned}” is open: its annotators find it on their start page.")
            return redirect("annotations:campaign", study.slug, planned.public_id)
    context["instructions"] = markdown(study.instructions)
    return render(request, "reports/evaluation_campaign.html", context)
