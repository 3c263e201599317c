"""Campaigns for a study's lead: the list, a new one, and how one is getting on."""

import uuid

from django.contrib import messages
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_POST

from accounts.http import HttpRequest
from accounts.models import audit
from annotations import access, campaigning, forms_judging, judgement_files, naming
from annotations.exporting import judgement_rows
from annotations.models.membership import Role
from annotations.progress import overview, tallies
from annotations.rendering import markdown


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
    """How far it is. While it is open: how much is judged, never what."""
    study = access.study_for(request.user, slug)
    row = access.campaign_for(request.user, study, public_id)
    blinded = access.is_blinded(request.user, study)
    context = {
        "study": study,
        "tab": "campaigns",
        "campaign": row,
        "overview": overview(row),
        "instructions": markdown(row.rubric["instructions"]),
        "blinded": blinded,
        "named": [] if blinded else naming.listed(row),
        "may_steer": access.role_in(request.user, study) == Role.LEAD,
        "unblinded": [] if row.is_open else campaigning.unblinded_by_closing(row),
        "judges": row.is_open and row.annotators.filter(pk=request.user.pk).exists(),
    }
    return render(request, "annotations/campaign.html", context)


@require_POST
def close(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    row = access.campaign_for(request.user, study, public_id)
    campaigning.close(row, actor=request.user)
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
def export(request: HttpRequest, slug: str, public_id: uuid.UUID) -> StreamingHttpResponse:
    """The campaign's judgements as CSV (C9). It names the models, so nobody who judges here gets it."""
    study = access.study_for(request.user, slug, Role.LEAD)
    access.require_unblinded(request.user, study)
    row = access.campaign_for(request.user, study, public_id)
    names = "names" in request.GET
    audit(request.user, "export judgements", row, names=names)
    lines = judgement_files.csv_lines(judgement_rows(study=study, campaigns=[row], names=names))
    filename = f"{study.slug}-{slugify(row.name)}-judgements.csv"
    return StreamingHttpResponse(
        lines,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )
