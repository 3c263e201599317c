"""Campaigns for a study's lead: the list, a new one, and how one is getting on."""

import uuid

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_POST

from accounts.errors import UserError
from accounts.http import HttpRequest
from accounts.models import audit
from annotations import access, adjudicating, board, campaigning, forms_judging, judgement_files, naming, unblinding
from annotations.exporting import judgement_rows
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
        "named": [] if blinded else naming.listed(row),
        "unblinded": [] if row.is_open else campaigning.unblinded_by_closing(row),
        "judges": row.is_open and row.annotators.filter(pk=request.user.pk).exists(),
    }
    return render(request, "annotations/campaign.html", context)


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
