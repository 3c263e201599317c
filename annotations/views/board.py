"""A running campaign's quality, an early look at its arms, and what was done to it."""

import uuid
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_http_methods

from accounts.http import HttpRequest
from annotations import access, forms_judging, unblinding
from annotations.models import Campaign
from annotations.models.membership import Role
from annotations.quality import quality as quality_of


@require_GET
def quality(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    """How the annotators judge, pooled over arms; a part of the campaign's page, or a page where there is no script."""
    study = access.study_for(request.user, slug)
    access.require_unblinded(request.user, study)
    row = access.campaign_for(request.user, study, public_id)
    context = {"study": study, "tab": "campaigns", "campaign": row, "quality": quality_of(row)}
    template = "annotations/_board_quality.html" if request.htmx else "annotations/board_quality.html"
    return render(request, template, context)


def to_unblinding(campaign: Campaign, *, onward: str) -> HttpResponseRedirect:
    """To the form that asks for the reason, and from there to where the person was on their way to."""
    address = reverse("annotations:campaign_unblind", args=[campaign.study.slug, campaign.public_id])
    return redirect(f"{address}?{urlencode({'next': onward})}")


@require_http_methods(["GET", "POST"])
def unblind(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    """The reason first, then the arms; ``next`` is where the person was on their way to."""
    study = access.study_for(request.user, slug, Role.LEAD)
    row = access.campaign_for(request.user, study, public_id)
    access.require_may_unblind(request.user, row)
    given = request.POST.get("next", "") or request.GET.get("next", "")
    here = url_has_allowed_host_and_scheme(given, {request.get_host()}, require_https=request.is_secure())
    onward = given if here else ""
    if request.method == "POST":
        unblinding.unblind(row, reason=forms_judging.read_text(request.POST, "reason"), actor=request.user)
        messages.warning(request, f"You have unblinded “{row}”. Every report on it says so.")
        return redirect(onward) if onward else redirect("annotations:campaign", slug=slug, public_id=public_id)
    context = {
        "study": study,
        "tab": "campaigns",
        "campaign": row,
        "next": onward,
        "hides_arms": unblinding.hides_arms(row),
        "seen": not unblinding.hidden_from(request.user, [row]),
        "looks": unblinding.looks([row])[row.pk],
    }
    return render(request, "annotations/board_unblind.html", context)
