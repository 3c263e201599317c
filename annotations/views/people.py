"""Who takes part in a study, and the links that let people in."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.core.mail import send_mail
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts.forms import SignUpForm
from accounts.http import HttpRequest
from annotations import access
from annotations.forms_people import InvitationForm
from annotations.models import Invitation
from annotations.models.membership import Role
from annotations.people import accept, invite, open_invitation


@require_http_methods(["GET", "POST"])
def people(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    form = InvitationForm(request.POST or None)
    link = ""
    if request.method == "POST" and form.is_valid():
        invitation, token = invite(study=study, actor=request.user, **form.cleaned_data)
        link = settings.SITE_URL + reverse("annotations:invitation", args=[token])
        if invitation.email:
            send_invitation(invitation, link)
            messages.success(request, f"An invitation was sent to {invitation.email}.")
        form = InvitationForm()
    context = {
        "study": study,
        "tab": "people",
        "form": form,
        "link": link,
        "memberships": study.memberships.select_related("user").order_by("role", "user__username"),
        "invitations": study.invitations.filter(accepted_at__isnull=True).order_by("-created_at")[:50],
    }
    return render(request, "annotations/people.html", context)


def send_invitation(invitation: Invitation, link: str) -> None:
    send_mail(
        f"Invitation to judge in {invitation.study.title}",
        f"You are invited to take part in the study “{invitation.study.title}” as {invitation.get_role_display()}.\n\n"
        f"Open this link within 14 days:\n{link}\n",
        None,
        [invitation.email],
    )


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
