"""Who takes part in a study, and the links that let people in."""

import logging

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.core.mail import send_mail
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts.forms import SignUpForm
from accounts.http import HttpRequest
from annotations import access
from annotations.forms_judging import read_text
from annotations.forms_people import InvitationForm
from annotations.models import Invitation
from annotations.models.membership import Role
from annotations.people import accept, invite, open_invitation, remove_member, set_specialties, withdraw_invitation

logger = logging.getLogger(__name__)


@require_http_methods(["GET", "POST"])
def people(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    form = InvitationForm(request.POST or None)
    link = ""
    if request.method == "POST" and form.is_valid():
        invitation, token = invite(study=study, actor=request.user, **form.cleaned_data)
        link = settings.SITE_URL + reverse("annotations:invitation", args=[token])
        if invitation.email and send_invitation(invitation, link):
            messages.success(request, f"An invitation was sent to {invitation.email}.")
        elif invitation.email:
            messages.error(request, f"The mail to {invitation.email} could not be sent. Pass the link on yourself.")
        form = InvitationForm()
    context = {
        "study": study,
        "tab": "people",
        "form": form,
        "link": link,
        "memberships": access.members(study).select_related("user").order_by("role", "user__username"),
        "invitations": study.invitations.filter(accepted_at__isnull=True).order_by("-created_at")[:50],
    }
    return render(request, "annotations/people.html", context)


def send_invitation(invitation: Invitation, link: str) -> bool:
    """Mail the link; False where the mail server could not be reached or would not take it."""
    try:
        send_mail(
            f"Invitation to judge in {invitation.study.title}",
            f"You are invited to take part in the study “{invitation.study.title}” as "
            f"{invitation.get_role_display()}.\n\nOpen this link within 14 days:\n{link}\n",
            None,
            [invitation.email],
        )
    except OSError as error:  # SMTPException is one
        logger.warning("invitation %s could not be mailed: %s", invitation.pk, type(error).__name__)
        return False
    return True


@require_POST
def member_specialty(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    membership = access.membership_for(request.user, study, pk)
    set_specialties(membership, read_text(request.POST, "specialty"), actor=request.user)
    messages.success(request, f"{membership.user}: {membership.specialty or 'no specialty'}.")
    return redirect("annotations:people", slug=slug)


@require_POST
def member_remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    membership = access.membership_for(request.user, study, pk)
    campaigns = remove_member(membership, actor=request.user)
    lost = f" and judges no more in {', '.join(map(str, campaigns))}" if campaigns else ""
    messages.success(request, f"{membership.user} was removed{lost}. What they judged stays.")
    still_in = access.role_in(request.user, study)
    return redirect("annotations:people", slug=slug) if still_in else redirect("home")


@require_POST
def invitation_withdraw(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    withdraw_invitation(access.invitation_for(request.user, study, pk), actor=request.user)
    messages.success(request, "The invitation was withdrawn; its link lets nobody in any more.")
    return redirect("annotations:people", slug=slug)


@login_not_required
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Accept an invitation with the account one has, or with a new one."""
    found = open_invitation(token)
    if request.user.is_authenticated:
        if request.method == "POST":
            accept(invitation=found, user=request.user)
            messages.success(request, f"You take part in {found.study.title} now.")
            return redirect("home")
        return render(request, "annotations/invitation.html", {"invitation": found})
    form = SignUpForm(request.POST or None, initial={"email": found.email})
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            user = form.save()
            accept(invitation=found, user=user)
        login(request, user)
        messages.success(request, f"Welcome. You take part in {found.study.title} now.")
        return redirect("home")
    return render(request, "annotations/invitation.html", {"invitation": found, "form": form})
