"""Campaigns for a study's lead: the list, a new one, and how one is getting on."""

import uuid
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.errors import UserError
from accounts.http import HttpRequest
from accounts.models import audit
from annotations import access, adjudicating, board, campaigning, forms_judging, judgement_files, planning, unblinding
from annotations.exporting import judgement_rows
from annotations.forms_judging import PlanForm
from annotations.models import Campaign, Study
from annotations.models.membership import Role
from annotations.progress import tallies
from annotations.rendering import markdown
from annotations.views.board import to_unblinding


@require_GET
def campaigns(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.study_for(request.user, slug)
    context = {
        "study": study,
        "tab": "campaigns",
        "tallies": tallies(study.campaigns.order_by("-pk")),
        "may_plan": access.role_in(request.user, study) == Role.LEAD
        and not access.open_campaigns_judged_by(request.user, study).exists(),
    }
    return render(request, "annotations/campaigns.html", context)


@require_http_methods(["GET", "POST"])
def plan(request: HttpRequest, slug: str) -> HttpResponse:
    """Plan a campaign: “Preview” says what it would hold, “Start” makes it.

    Not for a lead who judges: the outputs of a campaign on one model alone would tell which are that model's.
    """
    study = access.study_for(request.user, slug, Role.LEAD)
    access.require_unblinded(request.user, study)
    form = PlanForm(request.POST or None, study=study)
    context: dict[str, Any] = {"study": study, "tab": "campaigns", "form": form, "preview": None, "problem": None}
    if request.method == "POST" and form.is_valid():
        try:
            if "start" in request.POST:
                campaign = planning.plan_campaign(study=study, actor=request.user, **_chosen(form))
                messages.success(request, f"“{campaign}” has begun: its annotators find it on their home page.")
                return redirect("annotations:campaign", slug=slug, public_id=campaign.public_id)
            context["preview"] = _preview(study, form)
        except UserError as error:
            context["problem"] = error
    context["instructions"] = markdown(study.instructions)
    return render(request, "annotations/campaign_plan.html", context)


def _chosen(form: PlanForm) -> dict[str, Any]:
    """The form's answers as ``plan_campaign`` takes them."""
    chosen = dict(form.cleaned_data)
    if chosen["kind"] == Campaign.Kind.LABEL:
        chosen["models"] = []
    chosen["models"], chosen["annotators"] = list(chosen["models"]), list(chosen["annotators"])
    chosen["show_reference"] = chosen["show_reference"] or chosen["kind"] == Campaign.Kind.CORRECTNESS
    return chosen


def _preview(study: Study, form: PlanForm) -> dict[str, Any]:
    """What a campaign would hold, as ``plan_campaign`` would make it."""
    chosen = _chosen(form)
    people, overlap = chosen["annotators"], chosen["overlap"]
    planning.check(
        study=study,
        kind=chosen["kind"],
        name=chosen["name"],
        annotators=people,
        overlap=overlap,
        models=chosen["models"],
    )
    layout = planning.lay_out(study=study, kind=chosen["kind"], models=chosen["models"], split=chosen["split"])
    planning.require_items(layout, chosen["split"])
    items = len(layout.slots)
    return {
        "items": items,
        "judgements": items * overlap,
        "each": -(-items * overlap // len(people)),
        "minutes": planning.minutes(items, overlap),
        "minutes_each": max(1, planning.minutes(items, overlap) // len(people)),
        "dropped": layout.dropped,
    }


@require_GET
def campaign(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    """How far it is. How it is judged comes after (``board.quality``), and not for who judges; arms come last."""
    study = access.study_for(request.user, slug)
    row = access.campaign_for(request.user, study, public_id)
    leads = access.role_in(request.user, study) == Role.LEAD
    blinded = access.is_blinded(request.user, study)
    context = {
        "study": study,
        "tab": "campaigns",
        "campaign": row,
        "counts": board.counts(row),
        "instructions": markdown(row.rubric["instructions"]),
        "blinded": blinded,
        "arms_shown": unblinding.arms_shown(request.user, row),
        "looks": unblinding.looks([row])[row.pk],
        "may_steer": leads,
        "adjudicates": access.may_adjudicate(request.user, row),
        "to_decide": len(adjudicating.open_items(row)) if not blinded else 0,
        "names_itself": [] if blinded else _names_itself(row),
        "unblinded": [] if row.is_open else campaigning.unblinded_by_closing(row),
        "judges": row.is_open and row.annotators.filter(pk=request.user.pk).exists(),
    }
    return render(request, "annotations/campaign.html", context)


def _names_itself(row: Campaign) -> list[str]:
    """Cases of which an output names its own model, found at planning; which model is not said."""
    found: dict[str, list[str]] = row.design.get("names_itself", {})
    return sorted({case for cases in found.values() for case in cases})


@require_POST
def close(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    row = access.campaign_for(request.user, study, public_id)
    reason = forms_judging.read_text(request.POST, "reason")
    if not reason and not campaigning.all_in(row):
        raise UserError("Judgements are still to come. Say why the campaign is closed before they are in.")
    campaigning.close(row, actor=request.user, reason=reason)
    messages.success(request, f"“{row}” is closed. Nothing more can be submitted or changed in it.")
    return redirect("annotations:campaign", slug=slug, public_id=public_id)


@require_POST
def reopen(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    row = access.campaign_for(request.user, study, public_id)
    campaigning.reopen(row, reason=forms_judging.read_text(request.POST, "reason"), actor=request.user)
    messages.success(request, f"“{row}” is open again.")
    return redirect("annotations:campaign", slug=slug, public_id=public_id)


@require_GET
def export(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponseBase:
    """The campaign's judgements as CSV (C9). It names the models: nobody who judges here gets it, and while the
    campaign is open nobody who has not unblinded it."""
    study = access.study_for(request.user, slug, Role.LEAD)
    access.require_unblinded(request.user, study)
    row = access.campaign_for(request.user, study, public_id)
    if unblinding.hidden_from(request.user, [row]):
        return to_unblinding(row, onward=request.get_full_path())
    names = "names" in request.GET
    audit(request.user, "export judgements", row, names=names)
    lines = judgement_files.csv_lines(judgement_rows(study=study, campaigns=[row], names=names))
    filename = f"{study.slug}-{slugify(row.name)}-judgements.csv"
    return StreamingHttpResponse(
        lines,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )
